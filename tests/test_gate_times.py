"""The gate's rule for times: false alarms in whole comparisons, and planted changes found, in five kinds of noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.report.gate import times

CASES, COMPARISONS = 20, 120
DESIGNS = [(5, False), (7, True)]  # passes a side, and whether they were measured in pairs
LIMIT = np.log1p(0.05)


def alike(drawn, shape):
    return drawn.normal(0, 0.015, shape)


def unlike(drawn, shape):
    """Some cases ten times as noisy as others."""
    return drawn.normal(0, 1, shape) * np.exp(drawn.uniform(np.log(0.005), np.log(0.05), shape[1]))[:, None]


def spiky(drawn, shape):
    return alike(drawn, shape) + (drawn.random(shape) < 0.05) * drawn.exponential(0.1, shape)


def slow_passes(drawn, shape):
    """Whole passes during which somebody else had the machine."""
    return alike(drawn, shape) + (drawn.random((shape[0], 1, shape[2])) < 0.15) * 0.08


def two_states(drawn, shape):
    return drawn.normal(0, 0.005, shape) + (drawn.random(shape) < 0.5) * 0.03


NOISES = (alike, unlike, spiky, slow_passes, two_states)


def ratios(pairs, paired, **alarm):
    """[(ratio, interval)] of pairs of passes."""
    found = times.ratios([times.Timed(*pair) for pair in pairs], paired, **alarm)
    assert all((one.explained, one.slower) == (1.0, None) for one in found)
    return [(one.ratio, one.interval) for one in found]


def compared(noise, design, slower=1.0):
    """Log-ratios and logs of their intervals, (COMPARISONS, CASES, 3); case 0 is ``slower`` in the new results."""
    count, paired = design
    drawn = np.random.default_rng(NOISES.index(noise))
    found = []
    for _ in range(COMPARISONS):
        base, new = np.exp(noise(drawn, (2, CASES, count)))
        new[0] *= slower
        cases = [([[one] for one in a], [[one] for one in b]) for a, b in zip(base.tolist(), new.tolist(), strict=True)]
        found.append([(ratio, *interval) for ratio, interval in ratios(cases, paired)])
    return np.log(found)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("noise", NOISES)
def test_equals_raise_an_alarm_in_at_most_one_comparison_of_a_hundred(noise, design):
    change, low, high = np.moveaxis(compared(noise, design), 2, 0)
    alarms = ((np.abs(change) > LIMIT) & (low * high > 0)).any(axis=1)
    assert alarms.sum() <= 0.01 * COMPARISONS + 2, (
        f"{alarms.sum()} of {COMPARISONS}"
    )  # 2: of the draws, one in 30 has more
    holds = ((low <= 0) & (high >= 0)).all(axis=1)
    assert holds.mean() >= 0.97, "intervals that hold together in 99 of 100"


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("noise", [alike, two_states])
def test_a_tenth_more_is_found(noise, design):
    change, low, _ = np.moveaxis(compared(noise, design, slower=1.1), 2, 0)
    assert ((change[:, 0] > LIMIT) & (low[:, 0] > 0)).mean() >= 0.98


def test_each_case_by_itself_would_raise_more_alarms():
    """What Bonferroni is for: at the level of one case, some case of 20 sounds an alarm far too often."""
    drawn, alarms = np.random.default_rng(0), 0
    for _ in range(COMPARISONS):
        base, new = np.exp(drawn.normal(0, 0.04, (2, CASES, 7)))
        cases = [([[one] for one in a], [[one] for one in b]) for a, b in zip(base.tolist(), new.tolist(), strict=True)]
        found = ratios(cases, paired=True, alarm=0.01 * CASES)
        alarms += any(abs(np.log(ratio)) > LIMIT and not low <= 1 <= high for ratio, (low, high) in found)
    assert alarms > 0.05 * COMPARISONS


def test_what_disturbs_both_of_a_pair_cancels():
    base = [[1.0], [1.4], [1.0], [1.2], [1.0]]
    new = [[1.001 * one] for (one,) in base]
    (_, (low, high)), *_ = ratios([(base, new)], paired=True)
    assert 1.0009 < low <= high < 1.0011
    (_, (low, high)), *_ = ratios([(base, new)], paired=False)
    assert low < 0.9 and high > 1.1


def test_the_noisy_case_has_the_wide_interval():
    drawn = np.random.default_rng(1)
    quiet, loud = (drawn.normal(1, spread, (2, 5, 1)).tolist() for spread in (0.001, 0.05))
    found = ratios([tuple(quiet)] * 9 + [tuple(loud)], paired=False)
    widths = [high - low for _, (low, high) in found]
    assert widths[-1] > 2 * widths[0]


def test_the_rounds_of_a_pass_are_one_sample():
    base, new = [[1.0, 1.0, 9.0]] * 5, [[2.0, 2.0, 0.1]] * 5
    assert ratios([(base, new)], paired=False) == [(pytest.approx(2.0), (pytest.approx(2.0), pytest.approx(2.0)))]


SAMPLES = st.lists(st.floats(0.5, 2.0), min_size=5, max_size=5)


@given(st.lists(st.tuples(SAMPLES, SAMPLES), min_size=1, max_size=3), st.booleans(), st.sampled_from([1e-9, 1.0, 1e6]))
def test_the_interval_holds_the_ratio_whatever_the_unit(pairs, paired, unit):
    cases = [tuple([[one] for one in side] for side in pair) for pair in pairs]
    scaled = [tuple([[unit * one] for one in side] for side in pair) for pair in pairs]
    found, again = ratios(cases, paired), ratios(scaled, paired)
    for (ratio, (low, high)), (other, bounds) in zip(found, again, strict=True):
        assert low <= ratio * (1 + 1e-12) and ratio <= high * (1 + 1e-12)
        assert other == pytest.approx(ratio) and bounds == pytest.approx((low, high))
