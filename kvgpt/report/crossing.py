"""Where one of two curves gets ahead of the other for good, and between which ends that place is known to lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, log
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """What was measured at ``x``, less being better; ``interval`` holds it, or is None where nobody knows one."""

    x: float
    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Crossing:
    """Which curve is below the other at the largest x, and from where on it stays so.

    ``at``, ``low`` and ``high`` are 0 for before everything measured, and ``high`` is infinite for beyond it. ``low``
    and ``high`` are None where a figure has no interval. ``turns`` counts how often the lead changes.
    """

    ahead: Literal["first", "second"] | None
    at: float
    low: float | None
    high: float | None
    turns: int
    measured: tuple[float, ...]

    @property
    def decided(self) -> bool:
        """False where the intervals allow either curve to be ahead all the way."""
        return self.ahead is not None and (self.low, self.high) != (0.0, inf)


def crossing(first: Sequence[Figure], second: Sequence[Figure]) -> Crossing | None:
    """Compare two curves at every x that both were measured at; None where there is none.

    The logarithm of their ratio is interpolated linearly in log x, which is exact for powers of x. The interval is from
    the crossings of the ratio's bounds, which are the quotients of the figures' own.
    """
    pairs = _pairs(first, second)
    if not pairs:
        return None
    ratios = [(one.x, log(one.value) - log(other.value)) for one, other in pairs]
    signs = [ratio > 0 for _, ratio in ratios if ratio]
    turns = sum(before != after for before, after in pairwise(signs))
    measured = tuple(x for x, _ in ratios)
    if not ratios[-1][1]:
        return Crossing(None, inf, None, None, turns, measured)
    if ratios[-1][1] > 0:
        pairs = [(other, one) for one, other in pairs]
        ratios = [(x, -ratio) for x, ratio in ratios]
        ahead: Literal["first", "second"] = "second"
    else:
        ahead = "first"
    at = _lead(ratios)
    low, high = _bounds(pairs, at)
    return Crossing(ahead, at, low, high, turns, measured)


def _pairs(first: Sequence[Figure], second: Sequence[Figure]) -> list[tuple[Figure, Figure]]:
    """The figures of both, by x; only positive ones have a ratio."""
    beside = {figure.x: figure for figure in second if figure.x > 0 and figure.value > 0}
    common = {figure.x: figure for figure in first if figure.value > 0 and figure.x in beside}
    return [(common[x], beside[x]) for x in sorted(common)]


def _lead(ratios: Sequence[tuple[float, float]]) -> float:
    """The x from which on the log-ratio is negative to the end: 0 if it always is, infinite if it is not at the end."""
    behind = max((place for place, (_, ratio) in enumerate(ratios) if ratio >= 0), default=None)
    if behind is None:
        return 0.0
    if behind == len(ratios) - 1:
        return inf
    (x, ratio), (following, less) = ratios[behind : behind + 2]
    return x if not ratio else exp(log(x) + (log(following) - log(x)) * ratio / (ratio - less))


def _bounds(pairs: Sequence[tuple[Figure, Figure]], at: float) -> tuple[float | None, float | None]:
    lows, highs = list[tuple[float, float]](), list[tuple[float, float]]()
    for one, other in pairs:
        if one.interval is None or other.interval is None:
            return None, None
        (low, high), (least, most) = _holding(one), _holding(other)
        if min(low, least) <= 0:
            return None, None
        lows.append((one.x, log(low) - log(most)))
        highs.append((one.x, log(high) - log(least)))
    return min(_lead(lows), at), max(_lead(highs), at)


def _holding(figure: Figure) -> tuple[float, float]:
    """The interval, stretched to its figure where it misses it."""
    within = (figure.value, *(figure.interval or ()))
    return min(within), max(within)
