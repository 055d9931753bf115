"""Times: how two sets of passes differ, for all timed cases of a comparison at once.

A pass is one sample, by its median: rounds of one process are not independent. Few passes say little of their own
noise, so it is taken from all cases together: residuals of the passes' log-medians, pooled, are drawn again and again
(a bootstrap) to see how far a mean of as many passes strays. The interval of a case that is noisier than the others is
wider by as much. The level is divided by the number of cases (Bonferroni), so that the chance of any false alarm in a
whole comparison stays within ``ALARM``, whatever the cases have in common. What pulses explain is no noise: it is taken
off before, see :mod:`covariance`.

``tests/test_gate_times.py`` has the proof, on noise that is alike in all cases, that differs tenfold between them, that
has spikes, slow passes and two states; ``tests/test_gate_covariance.py`` on machines that change from pass to pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, sqrt
from statistics import NormalDist, geometric_mean

import numpy as np

from kvgpt.pulses import Pulse
from kvgpt.report.gate import covariance
from kvgpt.report.gate.covariance import Array, Fit
from kvgpt.report.gate.slower import Slower
from kvgpt.statistics import pass_medians, student_quantile

ALARM = 0.01  # chance of any false alarm in a comparison
FEWEST = 5  # passes a side
OWN = 1.25  # a spread seen in a handful of passes may be low by as much
DRAWS = (20_000, 2_000_000)  # at least and at most
BEYOND = 40  # draws beyond the quantile that is asked for
Passes = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Timed:
    """The passes of a case, and the pulses of each pass's machine; None where they are not known of every pass."""

    base: Passes
    new: Passes
    pulses: tuple[Sequence[Pulse], Sequence[Pulse]] | None = None


@dataclass(frozen=True)
class Change:
    """New over base, and the interval that holds it.

    Both are what is left when that is taken off which pulses explain, ``explained`` times. What the machines were
    ``slower`` by beyond it, where pulses of passes are known, may have added, and is not in the interval.
    """

    ratio: float
    interval: tuple[float, float]
    explained: float = 1.0
    slower: Slower | None = None


def ratios(cases: Sequence[Timed], paired: bool, alarm: float = ALARM) -> list[Change]:
    """Of each case new over base and its interval, all of which hold together with a chance of 1 - ``alarm``.

    ``paired`` where pass i of one side was measured beside pass i of the other, so that what disturbed both cancels.
    Each side has :data:`FEWEST` passes or more, and no time is 0.
    """
    if not cases:
        return []
    drawn = np.random.default_rng(0)  # the same intervals each time
    fits = [_fit(case, paired) for case in cases]
    pool = np.concatenate([fit.drawn_from for fit in fits])
    common = sqrt(sum(fit.scale**2 for fit in fits) / len(fits))
    level = alarm / len(cases)
    stretch = student_quantile(sum(fit.freedom for fit in fits), level) / -NormalDist().inv_cdf(level / 2)
    reach = {counts: stretch * _stray(drawn, pool, counts, level) for counts in {_counts(fit) for fit in fits}}
    found = []
    for fit in fits:
        half = fit.reach * reach[_counts(fit)] * max(1.0, OWN * fit.scale / common) if common else 0.0
        bounds = exp(fit.change - half), exp(fit.change + half)
        found.append(Change(exp(fit.change), bounds, exp(fit.explained), fit.slower))
    return found


def usual(passes: Passes) -> float:
    """What the time of so many passes is taken for, and ratios are of: the geometric mean of their medians."""
    return geometric_mean(pass_medians(passes))


def _fit(case: Timed, paired: bool) -> Fit:
    """Of the log-ratios where passes are paired, else of the logs of both sides."""
    before, after = (np.log(np.array(pass_medians(passes))) for passes in (case.base, case.new))
    if paired:
        return covariance.plain([after - before])
    if case.pulses is None:
        return covariance.plain([after, before])
    of_base, of_new = case.pulses
    return covariance.fit(after, before, of_new, of_base)


def _counts(fit: Fit) -> tuple[int, ...]:
    return tuple(map(len, fit.residuals))


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
