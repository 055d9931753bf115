"""The way of running steps that serves a device best: one choice, made when an engine is."""

import torch
from torch import Tensor

from kvgpt.fused import Fused, fusible, multiplied
from kvgpt.graphs import CudaGraphs, Graphed
from kvgpt.kernels.available import available
from kvgpt.model import GPT
from kvgpt.native import rows
from kvgpt.packing import LEAST
from kvgpt.policies import Policy
from kvgpt.steps import Chunked, Forward, Steps


def fastest(model: GPT, policy: Policy) -> Steps | Graphed:
    """On a GPU prompts in chunks, and decode steps through kernels, recorded; elsewhere the model as it is, and for a
    few rows loops where its weights are large enough.

    A model that is not made of GPT's own parts is called for every step: it may do what no recording repeats.
    """
    device = model.kv_shape(1, 1).device
    if device.type != "cuda":
        looped = fusible(model) and all(map(pays, multiplied(model)))
        return Steps(Fused(model, rows, rows.MOST_ROWS, rows.DTYPES) if looped else model, policy)
    if not fusible(model):
        return Chunked(model, policy)
    return Graphed(Chunked(_fused(model, device), policy), CudaGraphs(device))


def pays(weight: Tensor) -> bool:
    """Whether a loop serves ``weight`` on its device, a CPU that has a compiler, and is worth its call."""
    least = LEAST.get(weight.dtype)
    worth = weight.device.type == "cpu" and least is not None and weight.nbytes >= least
    return worth and rows.loop(weight.dtype, weight.dtype) is not None


def _fused(model: GPT, device: torch.device) -> Forward:
    if not available(device):
        return model
    from kvgpt.kernels import linear  # noqa: PLC0415 - Triton is optional

    return Fused(model, linear.FUSED, linear.MOST_ROWS, linear.DTYPES)
