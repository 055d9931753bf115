"""The gate where machines were not equally fast, as pulses tell."""

import pytest
import synthetic
from changed_results import FEW, changed, in_passes, pulsed, scaled

from kvgpt.report import gate
from kvgpt.report.gate import limits


@pytest.fixture(scope="module")
def base():
    return synthetic.results(**FEW)


@pytest.mark.parametrize(
    ("pulses", "word", "reason"),
    [
        ((1.0, 1.2), "WORSE", "by 1 pass"),
        ((1.0, 1.6), "UNDECIDED", "the new results met a machine 1.6 times as slow: measure them again"),
        ((2.0, 1.0), "UNDECIDED", "the base results met a machine 2.0 times as slow: measure them again"),
        ((None, 2.0), "WORSE", "by 1 pass"),
    ],
)
def test_a_time_from_a_machine_that_was_slower_decides_nothing(base, pulses, word, reason):
    sides = pulsed(base, pulses[0]), pulsed(changed(base, scaled("per_token_latency", 1.5), "latency"), pulses[1])
    found = gate.compare(*sides)
    timed = [one for one in found.judged if one.case.startswith("latency") and one.metric == "per_token_latency"]
    assert {one.word for one in timed} == {word} and all(one.reason.startswith(reason) for one in timed)
    assert {one.word for one in found.judged if one.metric == "peak_memory"} == {"SAME"}, "bytes are counted"


@pytest.mark.parametrize(
    ("factor", "pulses", "word"),
    [
        (1.1, (1.0, 1.0), "WORSE"),
        (1.1, (1.0, 1.12), "UNDECIDED"),  # the machine may have done it
        (1.1, (1.12, 1.0), "WORSE"),  # and it can hide, but not make, what is slower
        (0.9, (1.12, 1.0), "UNDECIDED"),
        (0.9, (1.0, 1.12), "BETTER"),
        (1.0, (1.0, 1.0), "SAME"),
        (1.0, (1.0, 1.12), "UNDECIDED"),
        (1.0, (1.12, 1.0), "UNDECIDED"),
    ],
)
def test_what_pulses_allow_for_is_added_to_the_interval(base, factor, pulses, word):
    before, after = in_passes(base, 10), in_passes(base, 10, factor, seed=1)
    plain = gate.compare(before, after)
    found = gate.compare(pulsed(before, pulses[0]), pulsed(after, pulses[1]))
    timed = [(one, bare) for one, bare in zip(found.judged, plain.judged, strict=True) if one.interval]
    assert {one.word for one, _ in timed} == {word}
    for one, bare in timed:
        assert one.ratio == bare.ratio
        assert one.interval[0] == pytest.approx(bare.interval[0] / max(1.0, pulses[1] / pulses[0]))
        assert one.interval[1] == pytest.approx(bare.interval[1] * max(1.0, pulses[0] / pulses[1]))


@pytest.mark.parametrize(
    ("factor", "pulses", "word"),
    [(1.3, (1.0, 1.05), "WORSE"), (1.3, (1.0, 1.12), "UNDECIDED"), (1.3, (1.12, 1.0), "WORSE"),
     (0.75, (1.12, 1.0), "UNDECIDED"), (0.75, (1.0, 1.12), "BETTER"), (1.05, (1.0, 1.2), "SAME")],
)  # fmt: skip
def test_of_one_pass_a_change_counts_beyond_what_pulses_allow_for(base, factor, pulses, word):
    new = pulsed(changed(base, scaled("per_token_latency", factor), "latency"), pulses[1])
    found = gate.compare(pulsed(base, pulses[0]), new)
    timed = [one for one in found.judged if one.case.startswith("latency") and one.metric == "per_token_latency"]
    assert {one.word for one in timed} == {word}


@pytest.mark.parametrize(
    ("pulses", "word"), [((1.0, 1.0), "WORSE"), ((1.0, 1.12), "UNDECIDED"), ((1.12, 1.0), "WORSE")]
)
def test_a_machine_that_is_slower_lowers_what_is_better_high(base, pulses, word):
    new = pulsed(changed(base, scaled("throughput", 0.75), "latency"), pulses[1])
    found = gate.compare(pulsed(base, pulses[0]), new, [limits.Limit("throughput", relative=0.05)])
    assert {one.word for one in found.judged if one.metric == "throughput"} == {word}
