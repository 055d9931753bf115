"""What a narrow storage makes of a vector, from its definition alone: numbers are looked for, not computed.

Every number that a format has is in a table; a number that is stored becomes the nearest of those that its vector's
scale makes of it. No tensors, no rounding of one's own: slow, and nothing that the codecs do.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction

Row = Sequence[float]
HALFWAY = Fraction(1, 2**22)  # relative: a number this near to halfway may go either way, as a quotient in float32 does


def _floats(exponent_bits: int, mantissa_bits: int, unused: int) -> list[float]:
    """The finite numbers of a format in IEEE 754's manner, in order; the ``unused`` largest codes are no numbers."""
    bias, steps = 2 ** (exponent_bits - 1) - 1, 2**mantissa_bits
    numbers = [
        (steps * (code >= steps) + code % steps) * 2.0 ** (max(code // steps, 1) - bias - mantissa_bits)
        for code in range(2**exponent_bits * steps - unused)
    ]
    return [-number for number in reversed(numbers[1:])] + numbers


FP16 = _floats(5, 10, unused=2**10)  # the last exponent is infinity's and NaN's
E4M3 = _floats(4, 3, unused=1)  # the last code alone is NaN
LEAST = 2.0**-24  # of the positive numbers of fp16


def int8(row: Row) -> list[set[float]]:
    """What each finite number of a row may read back as: one number, or more where it lies halfway."""
    return _scaled(row, 127, [float(code) for code in range(-127, 128)])


def fp8(row: Row) -> list[set[float]]:
    """As :func:`int8`."""
    return _scaled(row, 28, [code / 16 for code in E4M3])


def int4(row: Row) -> list[set[float]]:
    """As :func:`int8`."""
    minimum = FP16[max(bisect_right(FP16, min(row)) - 1, 0)]
    step = (Fraction(max(row)) - Fraction(minimum)) / 15
    scale = Fraction(max(FP16[min(bisect_left(FP16, step), len(FP16) - 1)], LEAST))
    levels = [Fraction(minimum) + code * scale for code in range(16)]
    return [_nearest(Fraction(number), levels) for number in row]


STORED: dict[str, Callable[[Row], list[set[float]]]] = {"int8": int8, "int4": int4, "fp8": fp8}


def _scaled(row: Row, largest: int, codes: list[float]) -> list[set[float]]:
    scales = _nearest(Fraction(max(map(abs, row))) / largest, FP16)
    found: list[set[float]] = [set() for _ in row]
    for scale in scales:
        levels = [Fraction(code) * Fraction(max(scale, LEAST)) for code in codes]
        found = [near | _nearest(Fraction(number), levels) for near, number in zip(found, row, strict=True)]
    return found


def _nearest(number: Fraction, levels: Sequence[float] | Sequence[Fraction]) -> set[float]:
    """The levels, which are in order, that are closest to a number."""
    at = bisect_left(levels, number)
    near = [Fraction(level) for level in levels[max(at - 1, 0) : at + 1]]
    least = min(abs(level - number) for level in near)
    return {float(level) for level in near if abs(level - number) <= least + HALFWAY * abs(number)}
