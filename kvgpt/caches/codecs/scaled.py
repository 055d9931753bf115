"""Scaled: a vector as codes, each of which stands for a number, and one fp16 scale for all of them."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from kvgpt.caches.codecs.base import Codec, Kept
from kvgpt.caches.codecs.half import HUGE, TINY


class Scaled(Codec):
    """``largest`` is the greatest number that a code stands for, and the largest of a vector becomes it:
    s = fp16(max|x| / largest), and the codes are those of x / s with the scale *as stored*.
    """

    symmetric = True
    largest: ClassVar[float]
    narrow: ClassVar[torch.dtype]

    @abstractmethod
    def rounded(self, x: Tensor) -> Tensor:
        """X (..., D), from about -largest to largest or NaN -> codes of ``narrow``; x may be written over."""

    def numbers(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """Codes (..., D) -> the numbers that they stand for, of ``dtype``: a copy."""
        return codes.to(dtype)

    def room(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return {"codes": ((self.head_dim,), self.narrow), "scales": ((), torch.float16)}

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        peak = x.abs().amax(dim=-1)  # (...)
        nan_unless_finite = peak - peak
        # By a tensor: by a number, a GPU multiplies with its inverse, and codes would depend on the device.
        scale = ((peak / peak.new_full((), self.largest)).clamp_(TINY, HUGE) + nan_unless_finite).to(torch.float16)
        return {"codes": self.rounded(x / scale.to(x.dtype).unsqueeze(-1)), "scales": scale}

    def decode(self, kept: Kept, dtype: torch.dtype) -> Tensor:
        """The product is exact in float32."""
        wide = torch.promote_types(dtype, torch.float32)
        return (self.numbers(kept["codes"], wide) * kept["scales"].to(wide).unsqueeze(-1)).to(dtype)

    def scores(self, q: Tensor, kept: Kept) -> Tensor:
        return q @ self.numbers(kept["codes"], q.dtype).mT * kept["scales"].to(q.dtype).unsqueeze(-2)

    def mix(self, weights: Tensor, kept: Kept) -> Tensor:
        dtype = weights.dtype
        return weights * kept["scales"].to(dtype).unsqueeze(-2) @ self.numbers(kept["codes"], dtype)
