"""Weights as symmetric int8 codes, with one scale for each output channel: a number w is kept as round(w / s).

A property of the weights, not of a cache: what computes with codes computes another function, and the record names its
weights so. A channel's scale s is its largest number over 127, in the model's dtype, and codes are of the scale as
stored: no number is off by more than s / 2. An embedding that is the head, too, has a channel for each token.

Products read the codes as they lie, one byte a number. For a few rows a loop that torch's compiler writes makes them
numbers in registers; elsewhere tiles of them become the model's dtype, one after the other, in a block near the cores.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from kvgpt.compiling import loop, uncompilable, warn_of

LEVELS = 127
LEAST = 500_000  # codes of a weight: with fewer, a tile or two are as fast, and nothing need be compiled
MOST_ROWS = 8  # beyond, a loop has too little arithmetic in registers
DTYPES = (torch.float32, torch.bfloat16)  # in which a loop sums, and from which
TILE = 2**18  # codes that are numbers at a time: 1 MiB of them in float32


class Int8Linear(nn.Module):
    """A linear layer over codes (N, K) with scale (N,) and bias (N,)."""

    def __init__(self, N: int, K: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(N, K, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(N), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(N), requires_grad=False)
        self.looped = frozenset[int]()  # numbers of rows that a compiled loop serves

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.codes, self.scale, self.bias, self.looped)

    @property
    def weight(self) -> Tensor:
        """The numbers that the codes stand for, (N, K), made anew."""
        return dequantise(self.codes, self.scale)

    def store(self, weight: Tensor, bias: Tensor) -> None:
        """Have the codes of weight (N, K), and bias (N,), from now on, in new parameters."""
        kept = (*quantise(weight.to(self.scale.dtype)), bias.to(self.scale.dtype))
        self.codes, self.scale, self.bias = (nn.Parameter(part, requires_grad=False) for part in kept)

    def prepare(self, rows: int) -> None:
        """Be ready for products with this many rows."""
        self.looped = looped(self.codes, self.scale.dtype, rows, biased=True)


class Int8Embedding(nn.Module):
    """Vectors of codes (V, C) with scale (V,); the head reads the same codes."""

    def __init__(self, V: int, C: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(V, C, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(V), requires_grad=False)
        self.looped = frozenset[int]()

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, T) -> (B, T, C)."""
        return dequantise(self.codes[ids], self.scale[ids])

    def project(self, x: Tensor) -> Tensor:
        """X (..., C) -> logits (..., V)."""
        return product(x, self.codes, self.scale, None, self.looped)

    def prepare(self, rows: int) -> None:
        """Be ready for logits of this many rows."""
        self.looped = looped(self.codes, self.scale.dtype, rows, biased=False)


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (N, K) -> codes (N, K) int8 and scale (N,) in the weight's dtype; ValueError where one is not finite."""
    if not weight.isfinite().all():
        raise ValueError(f"{int((~weight.isfinite()).sum())} weights are not finite: no code stands for them")
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    scale = (wide.abs().amax(dim=1) / LEVELS).to(weight.dtype).clamp(min=torch.finfo(weight.dtype).tiny)
    codes = (wide / scale.unsqueeze(1)).round_().clamp_(-LEVELS, LEVELS)
    return codes.to(torch.int8), scale


def dequantise(codes: Tensor, scale: Tensor) -> Tensor:
    """Codes (..., K) and scale (...) -> (..., K) in the scale's dtype."""
    return codes.to(scale.dtype) * scale.unsqueeze(-1)


def product(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, looped: frozenset[int]) -> Tensor:
    """X (..., K) times what codes (N, K) and scale (N,) stand for, plus bias (N,) -> (..., N)."""
    N, K = codes.shape
    rows = x.numel() // K
    if rows in looped and x.dtype == scale.dtype:
        compiled = _row_products(rows, N, K, scale.dtype, bias is not None, torch.get_num_threads())
        if compiled is not None:
            y = compiled(x.reshape(rows, K).float(), codes, scale, *(() if bias is None else (bias,)))
            return y.view(*x.shape[:-1], N)
    return tiled(x, codes, scale, bias)


def tiled(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """:func:`product` in plain PyTorch: nothing is allocated but the result and a tile. Nothing here has gradients."""
    N, K = codes.shape
    flat = x.reshape(-1, K)
    y = x.new_empty(flat.size(0), N)
    step = max(1, TILE // K)
    for start in range(0, N, step):
        tile = slice(start, start + step)
        torch.mm(flat, codes[tile].to(x.dtype).t(), out=y[:, tile])
    if bias is None:
        y.mul_(scale)
    else:
        torch.addcmul(bias, y, scale, out=y)
    return y.view(*x.shape[:-1], N)


def looped(codes: Tensor, dtype: torch.dtype, rows: int, biased: bool) -> frozenset[int]:
    """``rows``, where a compiled loop serves products of codes (N, K) with as many; nothing where tiles do."""
    N, K = codes.shape
    if codes.device.type != "cpu" or dtype not in DTYPES or codes.numel() < LEAST or rows > MOST_ROWS:
        return frozenset()
    if uncompilable(codes.device) is not None:
        return frozenset()
    compiled = _row_products(rows, N, K, dtype, biased, torch.get_num_threads())
    return frozenset() if compiled is None else frozenset([rows])


@cache
def _row_products(
    rows: int, N: int, K: int, dtype: torch.dtype, biased: bool, threads: int
) -> Callable[..., Tensor] | None:
    """X (rows, K) float32, codes (N, K), scale (N,) and where ``biased`` bias (N,) -> (rows, N): every code that is
    loaded meets all rows. Compiled once for as many threads as torch uses; None where that failed.
    """

    def products(x: Tensor, codes: Tensor, scale: Tensor, *bias: Tensor) -> Tensor:
        y = torch.stack([(codes.float() * row).sum(dim=-1) for row in x.unbind()]) * scale.float()
        return sum((one.float() for one in bias), y).to(scale.dtype)

    examples = [torch.empty(rows, K), torch.empty(N, K, dtype=torch.int8), torch.empty(N, dtype=dtype)]
    if biased:
        examples.append(torch.empty(N, dtype=dtype))
    try:
        return loop(products, *examples)
    except Exception as error:  # a compiler has its own ways to fail
        warn_of(error)
        return None
