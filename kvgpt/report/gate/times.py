"""Times: how two sets of passes differ, for all timed cases of a comparison at once.

A pass is one sample, by its median: rounds of one process are not independent. Few passes say little of their own
noise, so it is taken from all cases together: residuals of the passes' log-medians, pooled, are drawn again and again
(a bootstrap) to see how far a mean of as many passes strays. The interval of a case that is noisier than the others is
wider by as much. The level is divided by the number of cases (Bonferroni), so that the chance of any false alarm in a
whole comparison stays within ``ALARM``, whatever the cases have in common.

``tests/test_gate_times.py`` has the proof, on noise that is alike in all cases, that differs tenfold between them, that
has spikes, slow passes and two states.
"""

from collections.abc import Sequence
from math import ceil, exp, sqrt
from statistics import NormalDist, geometric_mean

import numpy as np
from numpy.typing import NDArray

from kvgpt.statistics import pass_medians, student_quantile

ALARM = 0.01  # chance of any false alarm in a comparison
FEWEST = 5  # passes a side
OWN = 1.25  # a spread seen in a handful of passes may be low by as much
DRAWS = (20_000, 2_000_000)  # at least and at most
BEYOND = 40  # draws beyond the quantile that is asked for
Passes = Sequence[Sequence[float]]
Array = NDArray[np.float64]


def ratios(
    cases: Sequence[tuple[Passes, Passes]], paired: bool, alarm: float = ALARM
) -> list[tuple[float, tuple[float, float]]]:
    """Of each case new over base and its interval, all of which hold together with a chance of 1 - ``alarm``.

    A case is (passes of the base, passes of the new); ``paired`` where pass i of one was measured beside pass i of the
    other, so that what disturbed both cancels. Each side has :data:`FEWEST` passes or more, and no time is 0.
    """
    if not cases:
        return []
    drawn = np.random.default_rng(0)  # the same intervals each time
    sides = [_sides(base, new, paired) for base, new in cases]
    residuals = [[side - side.mean() for side in both] for both in sides]
    pool = np.concatenate([_blown_up(one) for both in residuals for one in both])
    own = [sqrt(sum(float(one @ one) / (len(one) - 1) for one in both) / len(both)) for both in residuals]
    common = sqrt(sum(scale**2 for scale in own) / len(own))
    level = alarm / len(cases)
    freedom = sum(len(one) - 1 for both in residuals for one in both)
    stretch = student_quantile(freedom, level) / -NormalDist().inv_cdf(level / 2)
    reach = {counts: stretch * _stray(drawn, pool, counts, level) for counts in {_counts(both) for both in sides}}
    found = []
    for both, scale in zip(sides, own, strict=True):
        change = float(both[0].mean() - (both[1].mean() if len(both) > 1 else 0.0))
        half = reach[_counts(both)] * max(1.0, OWN * scale / common) if common else 0.0
        found.append((exp(change), (exp(change - half), exp(change + half))))
    return found


def usual(passes: Passes) -> float:
    """What the time of so many passes is taken for, and ratios are of: the geometric mean of their medians."""
    return geometric_mean(pass_medians(passes))


def _sides(base: Passes, new: Passes, paired: bool) -> list[Array]:
    """The samples whose means are compared: log-ratios where passes are paired, else the logs of both sides."""
    before, after = (np.log(np.array(pass_medians(passes))) for passes in (base, new))
    return [after - before] if paired else [after, before]


def _counts(sides: Sequence[Array]) -> tuple[int, ...]:
    return tuple(map(len, sides))


def _blown_up(residuals: Array) -> Array:
    """Residuals of n samples are smaller than the noise by sqrt((n - 1) / n)."""
    return residuals * sqrt(len(residuals) / (len(residuals) - 1))


def _stray(drawn: np.random.Generator, pool: Array, counts: tuple[int, ...], level: float) -> float:
    """How far the difference of means of so many samples strays from the truth, but in a share ``level`` of draws."""
    least, most = DRAWS
    draws = min(most, max(least, ceil(BEYOND / level)))
    narrow = np.uint16 if len(pool) <= 2**16 else np.int64  # a quarter of the random bits, in a third of the time
    stray = sum(
        sign * pool[drawn.integers(len(pool), size=(count, draws), dtype=narrow)].mean(axis=0)
        for sign, count in zip((1, -1), counts, strict=False)
    )
    return float(np.quantile(np.abs(stray), 1 - level))
