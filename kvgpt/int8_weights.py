"""Weights as symmetric int8 codes, with one scale for each output channel: a number w is kept as round(w / s).

A property of the weights, not of a cache: what computes with codes computes another function, and the record names its
weights so. A channel's scale s is its largest number over 127, in the model's dtype, and codes are of the scale as
stored: no number is off by more than s / 2. An embedding that is the head, too, has a channel for each token.

Products read the codes as they lie, one byte a number. For a few rows a loop of :mod:`kvgpt.native.rows` makes them
numbers in registers; elsewhere tiles of them become the model's dtype, one after the other, in a block near the cores.
"""

import torch
from torch import Tensor, nn

from kvgpt.native import rows as native

LEVELS = 127
LEAST = 500_000  # codes of a weight: with fewer, a tile or two are as fast, and nothing need be compiled
TILE = 2**18  # codes that are numbers at a time: 1 MiB of them in float32


class Int8Linear(nn.Module):
    """A linear layer over codes (N, K) with scale (N,) and bias (N,)."""

    def __init__(self, N: int, K: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(N, K, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(N), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(N), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.codes, self.scale, self.bias)

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
        prepare(self.codes, self.scale)


class Int8Embedding(nn.Module):
    """Vectors of codes (V, C) with scale (V,); the head reads the same codes."""

    def __init__(self, V: int, C: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(V, C, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(V), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, T) -> (B, T, C)."""
        return dequantise(self.codes[ids], self.scale[ids])

    def project(self, x: Tensor) -> Tensor:
        """X (..., C) -> logits (..., V)."""
        return product(x, self.codes, self.scale, None)

    def prepare(self, rows: int) -> None:
        """Be ready for logits of this many rows."""
        prepare(self.codes, self.scale)


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


def product(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """X (..., K) times what codes (N, K) and scale (N,) stand for, plus bias (N,) -> (..., N)."""
    if codes.numel() >= LEAST and native.serves(x.numel() // x.size(-1), x, codes, scale, bias):
        return native.few_rows(x, codes, bias, scale=scale)
    return tiled(x, codes, scale, bias)


def prepare(codes: Tensor, scale: Tensor) -> None:
    """Compile what multiplies a few rows with codes (N, K), before a step waits for it."""
    if codes.device.type == "cpu" and codes.numel() >= LEAST:
        native.loop(codes.dtype, scale.dtype)


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
