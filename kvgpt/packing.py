"""Weights laid out for the matrix kernels of a CPU, beside the checkpoint's own layout.

A decode step multiplies each weight by a few rows: it reads all weights once, and is as fast as they are read. oneDNN
reads a weight fastest that it has reordered into its own blocks beforehand, which costs as many bytes again.

Where oneDNN is missing, has no kernel for a dtype on this CPU or none that is faster, plain products serve.
"""

from typing import Any
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

# Bytes of a weight: with fewer, what the call and its threads cost is more than what packing saves.
LEAST = {torch.float32: 1_500_000, torch.bfloat16: 500_000}
MOST_ROWS = 32  # beyond, a product is bound by its arithmetic, and packing buys nothing

_packed: "WeakValueDictionary[tuple[Any, ...], Packed]" = WeakValueDictionary()


class Packed:
    """A weight (N, K) and its blocks. It stands for that weight as it was, and keeps its memory alive.

    Like autograd, it does not see what is written through ``weight.data``.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.identity = weight.detach(), _identity(weight)
        self.blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.weight,)  # blocks are made anew: they have no storage to copy

    def is_of(self, weight: Tensor) -> bool:
        """Whether ``weight`` is still what was packed."""
        return self.identity == _identity(weight)

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """X (..., K) -> (..., N), as ``F.linear``."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.blocks, bias, "none", [], "")
        return product


def pack(weight: Tensor) -> Packed | None:
    """The packed form of ``weight`` (N, K), one for all who ask; None where this CPU has no faster kernel for it."""
    if not _has_kernel(weight):
        return None
    found = _packed.get(_identity(weight))
    if found is None:
        found = _packed[_identity(weight)] = Packed(weight)
    return found


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, packed: Packed | None) -> Tensor:
    """``F.linear`` of x (..., K), weight (N, K) and bias (N,); through ``packed`` where that is faster and the same."""
    few = packed is not None and x.numel() <= MOST_ROWS * x.size(-1) and not torch.is_grad_enabled()
    if packed is None or not few or not packed.is_of(weight):
        return F.linear(x, weight, bias)
    return packed(x, bias)


def _identity(weight: Tensor) -> tuple[Any, ...]:
    """What changes when a weight does: its place, its shape, and how often it was written to."""
    return weight.data_ptr(), weight._version, weight.dtype, weight.shape


def _has_kernel(weight: Tensor) -> bool:
    least = LEAST.get(weight.dtype)
    if (
        weight.device.type != "cpu"
        or least is None
        or weight.nbytes < least
        or not torch.backends.mkldnn.is_available()
    ):
        return False
    if weight.is_inference() or not weight.is_contiguous():  # nothing tells when an inference tensor is written to
        return False
    return weight.dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
