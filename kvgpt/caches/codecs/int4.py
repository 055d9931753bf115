"""Int4: 16 evenly spaced levels between a vector's least and largest number, two codes a byte.

A vector x of D numbers is kept as its minimum m, rounded down to fp16, the scale s = (max x - m) / 15, rounded up to
fp16, and q = round((x - m) / s), so that |x - (m + s q)| <= s / 2 whatever the sizes of m and s. An asymmetric range,
because 16 levels are few: one of both signs would be half empty where a head's numbers lean to one side. Beyond:

- a range of 0 has the scale 2**-24, the least of fp16;
- huge rows saturate: at -65504 below, and at m + 15 * 65504 above, without an infinity or a NaN;
- a row that holds a NaN or an infinity reads back as a row of NaN.

The first half of the codes, rounded up, lie in the low four bits of the bytes, the second in the high four; an odd
size leaves four bits unused. With D = 64 a vector takes 36 bytes, 0.28125 of bfloat16's.
"""

import torch
from torch import Tensor

from kvgpt.caches.codecs.base import Codec, Kept
from kvgpt.caches.codecs.half import TINY, rounded_down, rounded_up

LEVELS = 15
MIDDLE = 8


class Int4(Codec):
    """Codes from 0 to 15, with the scale and the minimum of each vector."""

    native = "Int4"
    symmetric = False  # the range of -x is that of x turned around, but m is rounded down in both
    error_bound = (1 + 2**-10) * (1 + 2**-11) / LEVELS  # half a scale, of a range of twice the largest; both rounded

    def room(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        half = (self.head_dim + 1) // 2
        return {"codes": ((half,), torch.uint8), "scales": ((), torch.float16), "minima": ((), torch.float16)}

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        least, most = torch.aminmax(x, dim=-1)  # each (...)
        nan_unless_finite = (most - most) + (least - least)
        minimum = rounded_down(least + nan_unless_finite)
        # By a tensor: by a number, a GPU multiplies with its inverse, and codes would depend on the device.
        scale = rounded_up((most + nan_unless_finite - minimum) / most.new_full((), LEVELS)).clamp_(min=TINY)
        codes = x - minimum.to(x.dtype).unsqueeze(-1)
        codes = codes.div_(scale.to(x.dtype).unsqueeze(-1)).round_().clamp_(0, LEVELS).to(torch.uint8)  # (..., D)
        return {"codes": self._packed(codes), "scales": scale, "minima": minimum}

    def decode(self, kept: Kept, dtype: torch.dtype) -> Tensor:
        """The product is exact in float32, and the sum in float64."""
        wide = torch.promote_types(dtype, torch.float32)
        scale, minimum = (kept[name].to(wide).unsqueeze(-1) for name in ("scales", "minima"))  # each (..., 1)
        return torch.cat(self._halves(kept["codes"]), dim=-1).to(wide).mul_(scale).add_(minimum).to(dtype)

    def scores(self, q: Tensor, kept: Kept) -> Tensor:
        scale, middle = self._middle(kept, q.dtype)  # each (..., 1, S)
        low, high = self._centred(kept, q.dtype)
        half = low.size(-1)
        dots = q[..., :half] @ low.mT + q[..., half:] @ high.mT  # (..., G, S)
        return dots * scale + q.sum(dim=-1, keepdim=True) * middle

    def mix(self, weights: Tensor, kept: Kept) -> Tensor:
        scale, middle = self._middle(kept, weights.dtype)
        sums = torch.cat([weights * scale @ half for half in self._centred(kept, weights.dtype)], dim=-1)
        return sums + (weights * middle).sum(dim=-1, keepdim=True)

    def _middle(self, kept: Kept, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The scales, and what the code MIDDLE reads back as. Both (..., 1, S)."""
        scale, minimum = (kept[name].to(dtype).unsqueeze(-2) for name in ("scales", "minima"))
        return scale, minimum + MIDDLE * scale

    def _centred(self, kept: Kept, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Codes less MIDDLE, the first and the second half of them, each (..., S, D / 2): sums of them cancel as those
        of the vectors do, and lose no digits.
        """
        return tuple(half.to(dtype) - MIDDLE for half in self._halves(kept["codes"]))

    def _packed(self, codes: Tensor) -> Tensor:
        """(..., D) -> (..., D / 2 rounded up), both uint8."""
        half = (self.head_dim + 1) // 2
        packed = codes[..., :half].clone()
        packed[..., : self.head_dim - half] |= codes[..., half:] << 4
        return packed

    def _halves(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D / 2 rounded up) -> the first half of the codes, rounded up, and the second; all uint8."""
        return packed & 15, packed[..., : self.head_dim // 2] >> 4
