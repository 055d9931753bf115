"""Intervals of means and of passes: as wide as published quantiles make them, and right as often as they say."""

import math

import numpy as np
import pytest

from kvgpt import statistics

STUDENT = {5: 2.776, 6: 2.571, 7: 2.447, 10: 2.262, 30: 2.045, 101: 1.984}  # samples -> two-sided 95%, from tables


@pytest.mark.parametrize("n", STUDENT)
def test_the_interval_of_a_mean_is_as_wide_as_the_tables_say(n):
    mean, (low, high) = statistics.mean_interval(range(n))
    reach = STUDENT[n] * math.sqrt(n * (n + 1) / 12 / n)  # n (n + 1) / 12: the variance of 0 .. n - 1
    assert mean == (n - 1) / 2
    assert (low, high) == pytest.approx((mean - reach, mean + reach), abs=0.001 * reach)


def test_the_interval_of_a_trimmed_mean_draws_the_ends_in():
    mean, (low, high) = statistics.mean_interval(range(10), trim=0.2)
    reach = STUDENT[6] * math.sqrt(42.5 / (6 * 5))  # of 2 2 2 3 4 5 6 7 7 7, six of them kept
    assert (low, mean, high) == pytest.approx((4.5 - reach, 4.5, 4.5 + reach), abs=0.001 * reach)
    assert statistics.mean_interval([-1e9, 1, 2, 3, 4, 5, 6, 7, 8, 1e9], trim=0.2) == (mean, (low, high))


def test_the_interval_of_a_trimmed_mean_holds_it_as_often_as_it_says():
    drawn = np.random.default_rng(0).standard_t(2, size=(2000, 48))
    intervals = [statistics.mean_interval(samples, 0.2)[1] for samples in drawn.tolist()]
    hits = sum(low <= 0 <= high for low, high in intervals)
    assert 0.935 <= hits / 2000 <= 0.965


def test_four_samples_have_a_mean_and_no_interval():
    assert statistics.mean_interval([1, 2, 3, 6]) == (3, None)
    assert statistics.mean_interval([0, 1, 2, 3, 6, 99], trim=0.2) == (3, None)


def test_passes_fold_to_the_median_of_their_medians():
    passes = [[1, 2, 9], [4], [3, 3, 3, 50], [5, 7], [0, 5, 5], [8]]  # medians 2 4 3 6 5 8
    assert statistics.fold(passes) == (4.5, (2, 8))
    assert statistics.fold(passes[:5]) == (4, None)
    assert statistics.fold([[2, 1]]) == (1.5, None)


def test_many_rounds_in_few_passes_make_no_interval_narrower():
    few, many = [[float(i)] for i in range(8)], [[float(i)] * 1000 for i in range(8)]
    assert statistics.fold(few) == statistics.fold(many)


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ([], "0 passes: at least one"),
        ([[1.0], []], "pass 2 of 2: no samples: expected finite numbers"),
        ([[1.0, math.nan]], r"pass 1 of 1: \[1.0, nan\]: expected finite numbers"),
        ([[1.0], [math.inf]], r"pass 2 of 2: \[inf\]: expected finite numbers"),
    ],
)
def test_passes_without_numbers_are_refused(passes, message):
    with pytest.raises(ValueError, match=message):
        statistics.fold(passes)
