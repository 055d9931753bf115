"""Fp8: codes in e4m3 (4 bits of exponent, 3 of mantissa, no infinity), one fp16 scale a vector.

Micikevicius et al. 2022, arXiv 2209.05433. A vector x of D numbers is kept as s = fp16(max|x| / 448) and
q = e4m3(x / s), so that nothing is clipped, whatever the unit, and |x - s q| <= max(|s q| / 16, s / 1024): half the
distance between two codes. That needs an s that fp16 holds as a normal number. Beyond:

- tiny rows (max|x| < 448 * 2**-14) have a subnormal scale, at least 2**-24, and saturate at 448 of it;
- huge rows (max|x| > 448 * 65504) saturate at 448 * 65504, without an infinity or a NaN;
- a row that holds a NaN or an infinity reads back as a row of NaN.

With D = 64 a vector takes 66 bytes, as in int8: small numbers are kept better than there, large ones worse.
"""

import torch
from torch import Tensor

from kvgpt.caches.codecs.scaled import Scaled

LARGEST = 448.0  # of e4m3's numbers


class Fp8(Scaled):
    """Codes from -448 to 448, the numbers of e4m3."""

    error_bound = 16 * (1 + 2**-11) / LARGEST  # half the distance of the largest codes; of rows in the normal range
    largest = LARGEST
    narrow = torch.float8_e4m3fn

    def rounded(self, x: Tensor) -> Tensor:
        return x.clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
