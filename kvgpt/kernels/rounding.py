"""Rounding as the codecs do it, to the bit: kernels store what :mod:`kvgpt.caches.codecs` would."""

import triton
import triton.language as tl

TINY, HUGE = tl.constexpr(2.0**-24), tl.constexpr(65504.0)  # the least and the greatest positive fp16 number
INTEGERS = tl.constexpr(1.5 * 2**23)  # from here on float32 has no fractions: adding it rounds, a tie to even
LARGEST = tl.constexpr(3.4028234663852886e38)  # of float32


@triton.jit
def whole(x, least, most):
    """X, float32, rounded to integers from ``least`` to ``most``, ties to even; 0 where it is NaN."""
    held = tl.minimum(tl.maximum(tl.where(x == x, x, 0.0), least), most)  # noqa: PLR0124 - NaN alone differs from itself
    return (held + INTEGERS) - INTEGERS


@triton.jit
def finite(x):
    """Whether all numbers of a vector are."""
    return tl.min((tl.abs(x) <= LARGEST).to(tl.int32), 0) == 1


@triton.jit
def down(x):
    """The largest fp16 number that is no larger than x, float32; at least -HUGE, at most HUGE."""
    held = tl.minimum(tl.maximum(x, -HUGE), HUGE)
    near = held.to(tl.float16)
    bits = near.to(tl.int16, bitcast=True)  # sign and magnitude: the next number down is a magnitude away
    below = tl.where(bits < 0, bits + 1, bits - 1).to(tl.int16).to(tl.float16, bitcast=True)
    return tl.where(near.to(tl.float32) > held, below, near)


@triton.jit
def up(x):
    """The least fp16 number that is no smaller than x; at least -HUGE, at most HUGE."""
    return -down(-x)
