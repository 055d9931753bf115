"""Fp8: codes in e4m3 (4 bits of exponent, 3 of mantissa, no infinity), one fp16 scale a vector.

Micikevicius et al. 2022, arXiv 2209.05433. A vector x of D numbers is kept as s = fp16(max|x| / 28) and
q = e4m3(16 x / s), whose largest is 448, so that nothing is clipped, whatever the unit, and
|x - s q / 16| <= max(|s q / 16| / 16, s / 16384): half the distance between two codes. By the factor 16 the scales of
small vectors, too, are normal numbers of fp16. Beyond those:

- tiny rows (max|x| < 28 * 2**-14) have a subnormal scale, at least 2**-24, and saturate at 28 of it;
- huge rows (max|x| > 28 * 65504) saturate at 28 * 65504, without an infinity or a NaN;
- a row that holds a NaN or an infinity reads back as a row of NaN.

With D = 64 a vector takes 66 bytes, as in int8: small numbers are kept better than there, large ones worse. Codes lie
in bytes of torch.uint8, because torch 2.9 does not take rows of torch.float8_e4m3fn from a CPU's tensor
(pytorch/pytorch#169656).
"""

import torch
from torch import Tensor

from kvgpt.caches.codecs.scaled import Scaled

LARGEST = 448.0  # of e4m3's numbers
UNIT = 16


class Fp8(Scaled):
    """Codes from -448 to 448, the numbers of e4m3: sixteenths of the scale."""

    native = "Scaled<fp8>"
    error_bound = (1 + 2**-11) * UNIT / LARGEST  # half the distance of the largest codes; of rows in the normal range
    largest = LARGEST / UNIT
    narrow = torch.uint8

    def rounded(self, x: Tensor) -> Tensor:
        return x.mul_(UNIT).clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn).view(torch.uint8)

    def numbers(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        return codes.view(torch.float8_e4m3fn).to(dtype).div_(UNIT)
