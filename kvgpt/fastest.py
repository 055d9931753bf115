"""The way of running steps that serves a device best: one choice, made when an engine is."""

import torch

from kvgpt.fused import Fused, fusible, multiplied
from kvgpt.graphs import CudaGraphs, Graphed
from kvgpt.kernels.available import available
from kvgpt.model import GPT
from kvgpt.one_row import DTYPES, OneRow, pays
from kvgpt.policies import Policy
from kvgpt.steps import Chunked, Forward, Steps


def fastest(model: GPT, policy: Policy) -> Steps | Graphed:
    """On a GPU prompts in chunks, and decode steps through kernels, recorded; elsewhere the model as it is, and for one
    row loops where its weights are large enough.

    A model that is not made of GPT's own parts is called for every step: it may do what no recording repeats.
    """
    device = model.kv_shape(1, 1).device
    if device.type != "cuda":
        looped = fusible(model) and pays(multiplied(model))
        return Steps(Fused(model, OneRow(), 1, DTYPES) if looped else model, policy)
    if not fusible(model):
        return Chunked(model, policy)
    return Graphed(Chunked(_fused(model, device), policy), CudaGraphs(device))


def _fused(model: GPT, device: torch.device) -> Forward:
    if not available(device):
        return model
    from kvgpt.kernels import linear  # noqa: PLC0415 - Triton is optional

    return Fused(model, linear.FUSED, linear.MOST_ROWS, linear.DTYPES)
