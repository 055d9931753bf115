"""The fp16 numbers that scales are kept as: their range, and rounding towards either end of it."""

import torch
from torch import Tensor

TINY, HUGE = 2.0**-24, 65504.0  # the least and the greatest positive fp16 number


def rounded_down(x: Tensor) -> Tensor:
    """The largest fp16 number that is no larger than each of x, float32 or float64; at least -HUGE, at most HUGE."""
    held = x.clamp(-HUGE, HUGE)
    near = held.to(torch.float16)
    bits = near.view(torch.int16)  # sign and magnitude: the next number down is a magnitude away
    below = torch.where(bits < 0, bits + 1, bits - 1).view(torch.float16)
    return torch.where(near.to(x.dtype) > held, below, near)


def rounded_up(x: Tensor) -> Tensor:
    """The least fp16 number that is no smaller than each of x; at least -HUGE, at most HUGE."""
    return -rounded_down(-x)
