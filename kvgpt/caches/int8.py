"""Int8Cache: symmetric codes of 8 bits, one fp16 scale for each (token, head) (variant v2).

A vector x of D numbers is kept as s = fp16(max|x| / 127) and q = round(x / s), with the scale *as stored*, so that
|x - s q| <= s / 2. That needs an s that fp16 holds as a normal number. Beyond:

- tiny rows (max|x| < 127 * 2**-14) have a subnormal scale, at least 2**-24, and |x - s q| <= s / 2 + 127 * 2**-25;
- huge rows (max|x| > 127 * 65504) saturate at 127 * 65504, without an infinity or a NaN;
- a row that holds a NaN or an infinity reads back as a row of NaN.

With D = 64 a vector takes 66 bytes, 0.5156 of bfloat16's; a scale in fp32 would make that 0.5313.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVShape, Storage

LEVELS = 127
TINY, HUGE = 2.0**-24, 65504.0  # the least and the greatest positive fp16 number
TILE = 256  # tokens attended at a time: their float copy stays in a core's own cache


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """X (..., D) of any float dtype -> codes (..., D) int8, scale (...) fp16."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    largest = torch.linalg.vector_norm(x, ord=torch.inf, dim=-1)  # (...)
    nan_unless_finite = largest - largest
    scale = ((largest / LEVELS).clamp_(TINY, HUGE) + nan_unless_finite).to(torch.float16)
    codes = (x / scale.to(x.dtype).unsqueeze(-1)).round_().clamp_(-LEVELS, LEVELS)
    return codes.to(torch.int8), scale


def dequantise(codes: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Codes (..., D) int8, scale (...) fp16 -> (..., D) of ``dtype``; the product is exact in float32."""
    wide = torch.promote_types(dtype, torch.float32)
    return (codes.to(wide) * scale.to(wide).unsqueeze(-1)).to(dtype)


class UnfusedInt8Cache(Storage):
    """Attends over a dequantised copy of the whole cache; kept to show what fusing buys."""

    lossy = True
    symmetric = True
    error_bound = (1 + 2**-11) / (2 * LEVELS)  # half a scale, rounded up to fp16 at most; of rows in its normal range

    def __init__(self, shape: KVShape) -> None:
        size = (2, shape.batch_size, shape.n_head, shape.max_length)  # the first: K, V
        layers = range(shape.n_layer)
        self.codes = [torch.empty(*size, shape.head_dim, dtype=torch.int8, device=shape.device) for _ in layers]
        self.scales = [torch.empty(*size, dtype=torch.float16, device=shape.device) for _ in layers]

    def write(self, layer: int, where: slice | Tensor, k: Tensor, v: Tensor) -> None:
        self.codes[layer][:, :, :, where], self.scales[layer][:, :, :, where] = quantise(torch.stack((k, v)))

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        filled = self.filled(layer)
        codes, scales = self.codes[layer][:, :, :, :filled], self.scales[layer][:, :, :, :filled]
        k, v = dequantise(codes, scales, self.shape.dtype)  # each (B, H, S, D)
        return k, v

    def round_trip(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return dequantise(*quantise(k), k.dtype), dequantise(*quantise(v), v.dtype)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.codes + self.scales)

    def reset(self) -> None:
        super().reset()

    def crop(self, length: int) -> None:
        super().crop(length)

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = self.rows(rows)
        super().select(index)
        self.codes = [codes[:, index] for codes in self.codes]
        self.scales = [scales[:, index] for scales in self.scales]

    def fork(self) -> Self:
        twin = super().fork()
        for mine, theirs in zip(self.codes + self.scales, twin.codes + twin.scales, strict=True):
            theirs[:, :, :, : self.length] = mine[:, :, :, : self.length]
        return twin

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{layer}": tensor[:, :, :, : self.length]
            for name, tensors in (("codes", self.codes), ("scales", self.scales))
            for layer, tensor in enumerate(tensors)
        }


class Int8Cache(UnfusedInt8Cache):
    """Decodes from the codes in tiles: the scales multiply scores and weights, and no dequantised cache is made."""

    def attend_held(self, layer: int, q: Tensor) -> Tensor:
        if q.size(2) > 1 or q.dtype not in (torch.float32, torch.float64):
            return super().attend_held(layer, q)
        return self._decode(layer, q)

    def _decode(self, layer: int, q: Tensor) -> Tensor:
        """One query a row, q (B, H, 1, D), over all tokens held, the softmax accumulated tile by tile.

        Milakov and Gimelshein 2018, arXiv 1805.02867.
        """
        filled, (B, H, _, D) = self.filled(layer), q.shape
        q = q.reshape(B, self.shape.n_head, -1, D) * D**-0.5  # (B, H_kv, G, D)
        top = q.new_full((B, self.shape.n_head, q.size(2), 1), -torch.inf)
        total, sums = torch.zeros_like(top), torch.zeros_like(q)
        for start in range(0, filled, TILE):
            tile = slice(start, min(start + TILE, filled))
            k, v = self.codes[layer][:, :, :, tile].to(q.dtype)  # each (B, H_kv, tile, D)
            k_scale, v_scale = self.scales[layer][:, :, :, tile].to(q.dtype).unsqueeze(3)  # each (B, H_kv, 1, tile)
            scores = (q @ k.transpose(2, 3)) * k_scale  # (B, H_kv, G, tile)
            peak = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
            weights, fade = (scores - peak).exp(), (top - peak).exp()
            total = total * fade + weights.sum(dim=-1, keepdim=True)
            sums = sums * fade + (weights * v_scale) @ v
            top = peak
        return (sums / total).reshape(B, H, 1, D)
