"""The gate where each pass met a machine of its own: what pulses explain is taken off, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from changed_results import FEW, changed, pulsed

from kvgpt.report import gate
from kvgpt.report.gate import covariance, times

CASES, COMPARISONS, PASSES = 8, 150, 5
LIMIT = np.log1p(0.05)
OWN, STRAY = 0.015, 0.005  # of a pass's time, and of its pulses, by themselves


def moving(drawn):
    """Every pass meets a machine up to twice as slow."""
    return drawn.uniform(0, np.log(2), (2, CASES, PASSES))


def waking(drawn):
    """A machine that was slower for all of the new passes."""
    return drawn.uniform(0, 0.15, (2, CASES, PASSES)) + np.array([0.0, 0.12])[:, None, None]


def jumping(drawn):
    """Two states."""
    return (drawn.random((2, CASES, PASSES)) < 0.5) * 0.5


def steady(drawn):
    """One machine, at one speed; of the new side a little less."""
    return np.broadcast_to(np.array([0.0, 0.05])[:, None, None], (2, CASES, PASSES))


def waiting(drawn):
    """What disturbs every pass is of a kind that a case does not follow."""
    return np.zeros((2, CASES, PASSES))


def compared(machine, follows, slower=1.0):
    """Log-ratios, and logs of their intervals as the gate allows for them, (COMPARISONS, CASES, 3); case 0 is
    ``slower``. A case takes the power ``follows`` of what its machine's cores take, and memory changes by itself.
    """
    drawn = np.random.default_rng(7)
    found = []
    for _ in range(COMPARISONS):
        slow = {"cores": machine(drawn), "memory": moving(drawn), "caches": waiting(drawn)}
        logs = follows * slow["cores"] + drawn.normal(0, OWN, (2, CASES, PASSES))
        logs[1, 0] += np.log(slower)
        seen = {kind: np.exp(one + drawn.normal(0, STRAY, one.shape)) for kind, one in slow.items()}
        cases = []
        for place in range(CASES):
            sides = [[[one] for one in np.exp(side[place]).tolist()] for side in logs]
            of = [[{kind: one[side, place, number] for kind, one in seen.items()} for number in range(PASSES)]
                  for side in (0, 1)]  # fmt: skip
            cases.append(times.Timed(*sides, tuple(of)))
        found.append([(one.ratio, one.interval[0] / one.slower.new, one.interval[1] * one.slower.base)
                      for one in times.ratios(cases, paired=False)])  # fmt: skip
    return np.log(found)


@pytest.mark.parametrize(
    ("machine", "follows"),
    [(machine, follows) for machine in (moving, waking, jumping, steady) for follows in (0.0, 0.6, 1.0)]
    + [(moving, 1.3), (waking, 1.3)],  # where pulses do not vary within a side, a case is taken to follow by 1 at most
)
def test_equals_raise_no_alarm_whatever_their_machines_do(machine, follows):
    change, low, high = np.moveaxis(compared(machine, follows), 2, 0)
    alarms = ((np.abs(change) > LIMIT) & (low * high > 0)).any(axis=1)
    assert alarms.sum() <= 0.01 * COMPARISONS + 2, f"{alarms.sum()} of {COMPARISONS}"


@pytest.mark.parametrize("follows", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("machine", [moving, jumping])
def test_a_tenth_more_is_found_though_machines_are_up_to_twice_as_slow(machine, follows):
    change, low, _ = np.moveaxis(compared(machine, follows, slower=1.1), 2, 0)
    assert ((change[:, 0] > LIMIT) & (low[:, 0] > 0)).mean() >= 0.95
    assert change[:, 0].mean() == pytest.approx(np.log(1.1), abs=0.01)


def of(logs, kind="cores"):
    return [{kind: float(np.exp(one))} for one in logs]


def test_what_pulses_explain_is_taken_off_and_told():
    new, base = np.log([1.1, 1.6, 1.4, 1.2, 1.9]), np.log([1.0, 1.2, 1.5, 1.1, 1.3])
    fit = covariance.fit(0.8 * new + np.log(1.1), 0.8 * base, of(new), of(base))
    by_machine = 0.8 * (new.mean() - base.mean())
    assert (fit.change, fit.explained) == (pytest.approx(np.log(1.1)), pytest.approx(by_machine))
    assert fit.scale == pytest.approx(0.0, abs=1e-12) and fit.freedom == 6 and fit.reach > 1
    assert fit.slower.base == 1.0 < fit.slower.new < 1.01


def test_of_the_kinds_of_work_that_counts_which_a_case_follows_most_closely():
    new, base, other = np.array([0.1, 0.5, 0.3, 0.2, 0.6]), np.array([0.0, 0.2, 0.4, 0.1, 0.3]), np.arange(5) % 3 / 2
    pulses = [[{**a, **b} for a, b in zip(of(one, "cores"), of(other, "memory"), strict=True)] for one in (new, base)]
    fit = covariance.fit(new + 0.1, base, *pulses)
    assert fit.change == pytest.approx(0.1) and fit.explained == pytest.approx(new.mean() - base.mean())
    noise = np.array([0.01, -0.01, 0.0, 0.01, -0.01])
    apart = covariance.fit(noise + 0.1, noise, *pulses)
    assert apart.change == pytest.approx(0.1, abs=0.01), "it follows neither"


def test_where_pulses_hardly_vary_within_a_side_nobody_knows_what_they_explain():
    noise = 0.01 * np.arange(5)
    found = covariance.fit(noise + 0.1, noise, of(np.full(5, 0.1)), of(np.full(5, 0.0)))
    assert (found.change, found.explained, found.reach, found.freedom) == (pytest.approx(0.1), 0.0, 1.0, 8)
    assert (found.slower.base, found.slower.new) == (1.0, pytest.approx(np.exp(0.1)))


def test_a_kind_that_differs_only_between_the_sides_may_have_done_it_though_another_explains_the_passes():
    cores = np.array([0.1, 0.5, 0.3, 0.2, 0.6])
    sides = [[{**a, "memory": memory} for a in of(cores)] for memory in (1.2, 1.0)]
    found = covariance.fit(cores + 0.1, cores, *sides)
    assert found.change == pytest.approx(0.1) and found.slower.new == pytest.approx(1.2)


def met(results, code, machines):
    """The results as of passes that met these machines, whose times follow them; their code so many times as slow."""
    details = {"pulses": [{"cores": 0.001 * machine} for machine in machines]}

    def passes(metrics):
        value = metrics["per_token_latency"]["value"] * code
        processes = [[value * machine * (1 + 0.002 * (place % 3))] for place, machine in enumerate(machines)]
        return metrics | {"per_token_latency": {**metrics["per_token_latency"], "processes": processes}}

    middle = sorted(machines)[len(machines) // 2]
    made = changed(pulsed(results, None), passes, "latency")
    cases = [
        covered(case, details | {"pulse": {"cores": 0.001 * middle}}) if case.family == "latency" else case
        for case in made.cases
    ]
    return replace(made, cases=tuple(cases))


def covered(case, details):
    return replace(case, details={**case.details, **details})


@pytest.mark.parametrize(("code", "word"), [(1.0, "SAME"), (1.1, "WORSE"), (0.9, "BETTER")])
def test_files_whose_passes_met_unlike_machines_are_told_apart_by_their_code(code, word):
    results = synthetic.results(**FEW)
    base = met(results, 1.0, [1.0, 1.8, 1.2, 1.4, 1.1])
    new = met(results, code, [1.3, 1.2, 2.0, 1.1, 1.5])
    timed = [one for one in gate.compare(base, new).judged if one.interval]
    assert timed and {one.word for one in timed} == {word}
    for one in timed:
        assert one.ratio == pytest.approx(code, rel=0.005) and "whose pulses explain another +" in one.reason
        assert one.new / one.base == pytest.approx(one.ratio * 1.1, rel=0.05), "the figures are as measured"
    bare = [replace(side, cases=tuple(without_pulses(side))) for side in (base, new)]
    assert {one.word for one in gate.compare(*bare).judged if one.interval} == {"UNDECIDED"}


def without_pulses(results):
    for case in results.cases:
        yield replace(case, details={name: one for name, one in case.details.items() if name != "pulses"})
