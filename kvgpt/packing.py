"""Weights made ready for products with few rows, beside the checkpoint's own layout.

A decode step multiplies each weight by a few rows: it reads all weights once, and is as fast as they are read.

- Up to 8 rows: a loop of :mod:`kvgpt.native.rows` reads the weight as it lies, as fast as memory can.
- Up to 32: oneDNN reads a weight fastest that it has reordered into its own blocks beforehand, which costs as many
  bytes again.

Without a compiler the blocks serve the fewest rows, too; without a kernel for a dtype on this CPU, plain products do.
"""

from typing import Any
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from kvgpt.native import rows as native

# Bytes of a weight: with fewer, what a call and its threads cost is more than what is saved.
LEAST = {torch.float32: 1_500_000, torch.bfloat16: 500_000}
MOST_ROWS = 32  # beyond, a product is bound by its arithmetic, and blocks buy nothing

_ready: "WeakValueDictionary[tuple[Any, ...], Ready]" = WeakValueDictionary()


class Ready:
    """A weight (N, K) and the products that it is ready for. It stands for that weight as it was, and keeps its memory
    alive.

    Like autograd, it does not see what is written through ``weight.data``.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.identity = weight.detach(), _identity(weight)
        # So many rows are multiplied with the weight as it lies.
        self.few = 0 if native.loop(weight.dtype, weight.dtype) is None else native.MOST_ROWS
        self.blocks: Tensor | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.weight,)  # blocks have no storage to copy

    def is_of(self, weight: Tensor) -> bool:
        """Whether ``weight`` is still what was made ready."""
        return self.identity == _identity(weight)

    def prepare(self, rows: int) -> None:
        """Be ready for products of x (..., K) with this many rows in all."""
        if rows > self.few and self.blocks is None and _has_kernel(self.weight.dtype):
            self.blocks = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor | None:
        """X (..., K) -> (..., N), as ``F.linear``; None where it is not ready for as many rows."""
        rows = x.numel() // x.size(-1)
        if rows <= self.few and native.serves(rows, x, self.weight, bias):
            return native.few_rows(x, self.weight, bias)
        if rows <= MOST_ROWS and self.blocks is not None:
            blocked: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.blocks, bias, "none", [], "")
            return blocked
        return None


def ready(weight: Tensor, rows: int) -> Ready | None:
    """``weight`` (N, K) made ready for products with ``rows`` rows, one for all who ask; None where plain products are
    as fast.
    """
    least = LEAST.get(weight.dtype)
    if weight.device.type != "cpu" or least is None or weight.nbytes < least:
        return None
    if weight.is_inference() or not weight.is_contiguous():  # nothing tells when an inference tensor is written to
        return None
    found = _ready.get(_identity(weight))
    if found is None:
        found = _ready[_identity(weight)] = Ready(weight)
    found.prepare(rows)
    return found


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, ready: Ready | None) -> Tensor:
    """``F.linear`` of x (..., K), weight (N, K) and bias (N,); through ``ready`` where that is faster and the same."""
    if ready is None or torch.is_grad_enabled() or not ready.is_of(weight):
        return F.linear(x, weight, bias)
    product = ready.product(x, bias)
    return F.linear(x, weight, bias) if product is None else product


def _identity(weight: Tensor) -> tuple[Any, ...]:
    """What changes when a weight does: its place, its shape, and how often it was written to."""
    return weight.data_ptr(), weight._version, weight.dtype, weight.shape


def _has_kernel(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies blocks of this dtype on this CPU."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
