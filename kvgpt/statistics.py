"""Intervals for what is measured more than once."""

from collections.abc import Sequence
from math import comb
from statistics import median

__all__ = ["CONFIDENCE", "NORMAL_QUANTILE", "median", "median_interval", "normal_interval"]

CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.959964  # two-sided, at CONFIDENCE


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
