"""Whether two measured things differ: false alarms, and planted changes found, in five models of a machine's noise."""

import math
from collections import Counter

import noise
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgpt import verdict

COMPARISONS = 300
CALLS = 960  # a side
TWO, FIVE = [[100.0], [100.0]], [[1.0]] * 5  # passes


def timelines(model):
    """The noise of 300 comparisons, both sides' calls as they come, the same in every run: (2 * CALLS,) each."""
    drawn = np.random.default_rng(noise.MODELS.index(model))
    return (model(drawn, 2 * CALLS) for _ in range(COMPARISONS))


def interleaved(model, factor):
    """300 comparisons of equals, but that b takes ``factor`` times as long."""
    sides = map(noise.in_turns, timelines(model))
    return [verdict.interleaved(a.tolist(), (b * factor).tolist()) for a, b in sides]


def found(differences):
    return Counter(difference.verdict for difference in differences)


@pytest.mark.parametrize("model", noise.MODELS)
def test_equals_raise_alarms_in_at_most_one_comparison_of_a_hundred(model):
    differences = interleaved(model, 1.0)
    verdicts = found(differences)
    assert verdicts["more"] + verdicts["less"] <= 0.01 * COMPARISONS, verdicts
    assert verdicts["same"] >= 0.6 * COMPARISONS, verdicts
    held = sum(low <= 1 <= high for low, high in (difference.interval for difference in differences))
    assert held >= 0.92 * COMPARISONS, "intervals of 95%"


@pytest.mark.parametrize("model", noise.MODELS)
def test_a_tenth_more_is_found(model):
    assert found(interleaved(model, 1.10))["more"] >= 0.99 * COMPARISONS


@pytest.mark.parametrize("model", noise.MODELS)
def test_a_twentieth_more_is_found_mostly(model):
    least = 0.6 if model is noise.recorded else 0.7
    assert found(interleaved(model, 1.05))["more"] >= least * COMPARISONS


@pytest.mark.parametrize("model", noise.MODELS)
def test_a_tenth_less_is_found_and_never_called_more(model):
    verdicts = found(interleaved(model, 0.90))
    assert verdicts["more"] == 0 and verdicts["less"] >= 0.99 * COMPARISONS, verdicts


@pytest.mark.parametrize("model", noise.MODELS[1:])
def test_the_naive_rule_fails_in_the_same_noise(model):
    """First all of a, then all of b, and an alarm where the means are 5% apart: the noise is worth its name."""
    alarms = 0
    for factors in timelines(model):
        a, b = np.split(factors, 2)
        alarms += abs(math.log(b.mean() / a.mean())) > math.log(1.05)
    assert alarms >= 0.4 * COMPARISONS


def test_who_comes_second_pays_and_the_order_shares_it_out():
    alarms = Counter()
    for factors in timelines(noise.independent):
        second = factors * np.tile([1.0, 1.1], CALLS)  # every second call is 10% slower, whoever makes it
        sides = {"fixed": (second[0::2], second[1::2]), "balanced": noise.in_turns(second)}
        for order, (a, b) in sides.items():
            alarms[order] += verdict.interleaved(a.tolist(), b.tolist()).verdict == "more"
    assert alarms["balanced"] == 0 and alarms["fixed"] >= 0.99 * COMPARISONS, alarms


def in_passes(count, factor, comparisons=1000):
    """Comparisons of passes whose processes differ by 2%, with seven rounds each that differ by 1%."""
    drawn = np.random.default_rng(count)
    processes = drawn.lognormal(sigma=0.02, size=(2, comparisons, count, 1))
    a, b = processes * drawn.lognormal(sigma=0.01, size=(2, comparisons, count, 7))
    return found(map(verdict.passes, a.tolist(), (factor * b).tolist()))


def test_passes_of_equals_raise_alarms_in_at_most_one_comparison_of_a_hundred():
    seven, five = in_passes(7, 1.0), in_passes(5, 1.0)
    assert seven["more"] + seven["less"] <= 10, seven
    assert five["more"] <= 10 and five["less"] <= 10, five  # each by itself: five passes promise no more


@pytest.mark.parametrize("count", [5, 7])
def test_passes_find_a_tenth(count):
    more, less = in_passes(count, 1.1), in_passes(count, 0.9)
    assert more["more"] >= 990 and less["less"] >= 990 and less["more"] == 0, (more, less)


def test_rounds_of_one_process_are_one_sample():
    """Processes 4% apart, 200 rounds each that differ by 0.1%: pooled, the rounds would be sure of a difference."""
    a, b = np.random.default_rng(0).lognormal([[0], [0.04]], 0.001, size=(2, 200))
    assert b.min() > 1.03 * a.max()
    difference = verdict.passes([a.tolist()] * 4, [b.tolist()] * 4)
    assert difference == verdict.Difference(pytest.approx(1.04, abs=0.002), None, "undecided")


def test_spikes_in_most_calls_and_a_few_blocks_of_another_speed_change_nothing():
    a, b = np.ones((48, 20)), np.full((48, 20), 1.2)
    b[:, :14] *= np.linspace(2, 9, 14)  # of 20 calls in each block
    a[:9] *= 3  # of 48 blocks, on one side alone
    differs = verdict.interleaved(a.ravel().tolist(), b.ravel().tolist())
    assert differs == verdict.Difference(pytest.approx(1.2), pytest.approx((1.2, 1.2)), "more")


def test_an_interval_that_leaves_the_least_change_on_one_side_is_undecided():
    other = [[0.95], [0.99], [1.0], [0.98], [1.0]]
    below, above = verdict.passes(FIVE, other), verdict.passes(other, FIVE)
    assert below.verdict == "undecided" and below.interval[0] < 0.97 and 1 < below.interval[1] < 1.03
    assert above.verdict == "undecided" and above.interval[1] > 1.03 and 0.97 < above.interval[0] < 1


def test_one_wild_pass_is_no_alarm():
    a = [[1.00], [1.01], [0.99], [1.00], [1.02], [0.98], [1.00]]
    b = [[1.01], [1.00], [1.00], [3.00], [0.99], [1.01], [1.00]]
    assert verdict.passes(a, b).verdict == "undecided"


@pytest.mark.parametrize(
    ("a", "b", "least", "expected"),
    [
        (TWO, TWO, 0.03, verdict.Difference(1.0, (1.0, 1.0), "same")),
        ([[0.0]], [[0.0]], 0.03, verdict.Difference(1.0, (1.0, 1.0), "same")),
        ([[-2.0]] * 6, [[-2.0]] * 6, 0.03, verdict.Difference(1.0, (1.0, 1.0), "same")),
        ([[100.0, 101.0]], [[100.0, 101.0]], 0.03, verdict.Difference(1.0, None, "undecided")),
        (TWO, [[125.0], [125.0]], 0.03, verdict.Difference(pytest.approx(1.25), None, "undecided")),
        (FIVE, [[1.25]] * 5, 0.03, verdict.Difference(pytest.approx(1.25), pytest.approx((1.25, 1.25)), "more")),
        (FIVE, [[0.8]] * 5, 0.03, verdict.Difference(pytest.approx(0.8), pytest.approx((0.8, 0.8)), "less")),
        (FIVE, [[1.25]] * 5, 0.3, verdict.Difference(pytest.approx(1.25), pytest.approx((1.25, 1.25)), "same")),
        (FIVE, [[1.25]] * 5, 0.24, verdict.Difference(pytest.approx(1.25), pytest.approx((1.25, 1.25)), "more")),
    ],
)
def test_what_passes_come_to(a, b, least, expected):
    assert verdict.passes(a, b, least) == expected


PAIRS = st.lists(
    st.tuples(*2 * [st.lists(st.floats(0.5, 2), min_size=1, max_size=3)]), min_size=1, max_size=8
)  # of passes


@given(PAIRS, st.sampled_from([0.0, 0.03, 0.1]))
def test_the_other_way_round_it_is_the_inverse(pairs, least):
    a, b = zip(*pairs, strict=True)
    there, back = verdict.passes(a, b, least), verdict.passes(b, a, least)
    assert back.verdict == {"more": "less", "less": "more"}.get(there.verdict, there.verdict)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert (back.interval is None) == (there.interval is None)
    if there.interval is not None:
        assert back.interval == pytest.approx((1 / there.interval[1], 1 / there.interval[0]))
        assert there.interval[0] <= there.ratio <= there.interval[1]


@given(PAIRS, st.sampled_from([1e-9, 1e-3, 1e12]))
def test_the_unit_does_not_matter(pairs, unit):
    a, b = zip(*pairs, strict=True)
    scaled = ([[unit * sample for sample in samples] for samples in side] for side in (a, b))
    there, here = verdict.passes(a, b), verdict.passes(*scaled)
    assert here.ratio == pytest.approx(there.ratio)
    assert here.interval == pytest.approx(there.interval)


@given(st.lists(st.sampled_from([verdict.SMALLEST, 1.0, verdict.LARGEST]), min_size=10, max_size=20))
def test_no_figure_is_infinite(samples):
    half = len(samples) // 2
    a, b = ([[sample] for sample in side] for side in (samples[:half], samples[half : 2 * half]))
    difference = verdict.passes(a, b)
    assert all(map(math.isfinite, [difference.ratio, *difference.interval]))


def test_samples_after_the_last_whole_block_are_not_used():
    a, b = [1.0] * 140, [1.2] * 140
    whole = verdict.interleaved(a, b)
    assert whole.verdict == "more"
    assert verdict.interleaved([*a, *[9.0] * 19], [*b, *[0.1] * 19]) == whole


def test_six_blocks_are_too_few():
    assert verdict.interleaved([1.0] * 139, [1.2] * 139) == verdict.Difference(pytest.approx(1.2), None, "undecided")


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        (lambda: verdict.interleaved([1.0] * 40, [1.0] * 41), "40 samples against 41: calls in turns"),
        (lambda: verdict.interleaved([1.0] * 19, [1.0] * 19), "19 samples a side: a block has 20"),
        (lambda: verdict.interleaved([1.0] * 40, [0.0] + [1.0] * 39), "0.0: only numbers from 1e-60 to 1e[+]60"),
        (lambda: verdict.interleaved([math.nan] + [1.0] * 39, [1.0] * 40), "nan: only numbers"),
        (lambda: verdict.passes(FIVE, FIVE[1:]), "5 passes against 4: they are compared pass by pass"),
        (lambda: verdict.passes([[1.0], []], TWO), "pass 2 of 2: no samples"),
        (lambda: verdict.passes([[-1.0]] * 5, FIVE), "-1.0: only numbers .* subtract others"),
        (lambda: verdict.passes([[0.0]] * 5, FIVE), "0.0: only numbers .* subtract others"),
        (lambda: verdict.passes(TWO, [[1.0]] * 2, -0.1), "least=-0.1: the least change that counts is a fraction"),
        (lambda: verdict.passes(TWO, TWO, math.nan), "least=nan: the least change"),
    ],
)
def test_what_cannot_be_compared_is_refused(compare, message):
    with pytest.raises(ValueError, match=message):
        compare()
