"""Intervals for what is measured more than once."""

from collections.abc import Sequence
from math import comb, fsum, isfinite, sqrt
from statistics import NormalDist, fmean, median

__all__ = [
    "CONFIDENCE",
    "FEWEST",
    "NORMAL_QUANTILE",
    "fold",
    "mean_interval",
    "median",
    "median_interval",
    "normal_interval",
    "pass_medians",
    "student_quantile",
]

CONFIDENCE = 0.95
USUAL = 0.05  # what CONFIDENCE leaves
NORMAL_QUANTILE = 1.959964  # two-sided, at CONFIDENCE
FEW = {1: 12.706205, 2: 4.302653, 3: 3.182446}  # degrees of freedom -> Student's two-sided quantile, at CONFIDENCE
FEWEST = 5  # samples from which the interval of a mean is told: fewer say next to nothing of their own spread


def median_interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """An interval that holds the median with 95% confidence whatever the distribution; None where samples are too few.

    The k-th smallest and the k-th largest of n, for the greatest k that a binomial(n, 1/2) allows.
    """
    n, tail, best = len(samples), 0, None
    ordered = sorted(samples)
    for k in range(1, n // 2 + 1):
        tail += comb(n, k - 1)  # ways in which fewer than k samples fall on one side of the median
        if 2 * tail / 2**n > 1 - CONFIDENCE:
            break
        best = ordered[k - 1], ordered[n - k]
    return best


def normal_interval(value: float, stderr: float) -> tuple[float, float]:
    """The 95% interval of a mean whose error is normal."""
    return value - NORMAL_QUANTILE * stderr, value + NORMAL_QUANTILE * stderr


def mean_interval(samples: Sequence[float], trim: float = 0.0) -> tuple[float, tuple[float, float] | None]:
    """The mean of all samples but a share ``trim`` at either end, and its 95% interval.

    The interval is Student's, and with a trim Tukey and McLaughlin's (1963, Sankhya A 25): the spread is that of all
    samples, those at the ends drawn in to the last ones kept. None where fewer than :data:`FEWEST` are kept.
    """
    ordered, cut = sorted(samples), int(trim * len(samples))
    kept = ordered[cut : len(ordered) - cut]
    mean = fmean(kept)
    if len(kept) < FEWEST:
        return mean, None
    drawn_in = [kept[0]] * cut + kept + [kept[-1]] * cut
    centre = fmean(drawn_in)
    squares = fsum((sample - centre) ** 2 for sample in drawn_in)
    reach = student_quantile(len(kept) - 1) * sqrt(squares / (len(kept) * (len(kept) - 1)))
    return mean, (mean - reach, mean + reach)


def fold(passes: Sequence[Sequence[float]]) -> tuple[float, tuple[float, float] | None]:
    """One value of many passes: the median of their medians, and the interval that the medians give it.

    Rounds within a pass share a process, its memory layout and its moment, so they are no samples of what another pass
    would give; one pass is one sample. The interval is None for five passes or fewer: their whole range holds the
    median less often than 95% of the time.
    """
    medians = pass_medians(passes)
    return median(medians), median_interval(medians)


def pass_medians(passes: Sequence[Sequence[float]]) -> list[float]:
    """The median of each pass; ValueError where there is no pass, or one without samples or with what is no number."""
    if not passes:
        raise ValueError("0 passes: at least one is needed")
    for number, samples in enumerate(passes, 1):
        if not samples or not all(map(isfinite, samples)):
            found = f"{[*samples]}" if samples else "no samples"
            raise ValueError(f"pass {number} of {len(passes)}: {found}: expected finite numbers; leave the pass out")
    return [median(samples) for samples in passes]


def student_quantile(freedom: int, level: float = USUAL) -> float:
    """Student's two-sided quantile, beyond which a share ``level`` lies: to 0.1% at the usual level, to 0.3% at smaller
    ones from 6 degrees of freedom on. ValueError for fewer than 4 at another than the usual level.

    The normal quantile, and the first four terms of its expansion in 1/freedom (Abramowitz and Stegun, 26.7.5), which
    is too coarse below 4 degrees of freedom.
    """
    if freedom in FEW:
        if level != USUAL:
            raise ValueError(f"{freedom} degrees of freedom: below 4 the quantile is known at a level of {USUAL} alone")
        return FEW[freedom]
    z = -NormalDist().inv_cdf(level / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
