"""Int8: symmetric codes of 8 bits, one fp16 scale a vector.

A vector x of D numbers is kept as s = fp16(max|x| / 127) and q = round(x / s), so that |x - s q| <= s / 2. That needs
an s that fp16 holds as a normal number. Beyond:

- tiny rows (max|x| < 127 * 2**-14) have a subnormal scale, at least 2**-24, and |x - s q| <= s / 2 + 127 * 2**-25;
- huge rows (max|x| > 127 * 65504) saturate at 127 * 65504, without an infinity or a NaN;
- a row that holds a NaN or an infinity reads back as a row of NaN.

With D = 64 a vector takes 66 bytes, 0.5156 of bfloat16's; a scale in fp32 would make that 0.5313.
"""

import torch
from torch import Tensor

from kvgpt.caches.codecs.scaled import Scaled

LEVELS = 127


class Int8(Scaled):
    """Codes from -127 to 127."""

    native = "Scaled<int8_t>"
    error_bound = (1 + 2**-11) / (2 * LEVELS)  # half a scale, rounded up to fp16 at most; of rows in its normal range
    largest = LEVELS
    narrow = torch.int8

    def rounded(self, x: Tensor) -> Tensor:
        return x.round_().clamp_(-LEVELS, LEVELS).to(torch.int8)
