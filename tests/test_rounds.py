"""Rounds: the grid's, then more until the median is known, and never past the time that a case has."""

from types import SimpleNamespace

import pytest
from fake_benchmark import Bench
from fake_clock import FakeClock

from kvgpt.measure.rounds import MOST, timed
from kvgpt.measure.turns import Alone
from kvgpt.statistics import median

SPAN = Alone.span


def run(durations, clock=None, disabled=False, setup=lambda: None, **effort):
    """Time a body whose runs take ``durations``, the last for ever."""
    clock = clock or FakeClock()
    left, bench = list(durations), Bench(clock, disabled)

    def body():
        clock.advance(left.pop(0) if len(left) > 1 else left[0])
        return "done"

    settings = SimpleNamespace(**{"warmup": 1, "rounds": 6, "precision": 0.02, "seconds": 100.0} | effort)
    return timed(bench, body, settings, clock, clock, setup, now=clock), bench, clock


def test_a_steady_body_takes_the_rounds_of_the_grid():
    found, bench, _ = run([1.0])
    assert found.seconds == [1.0] * 6 and found.host == [1.0] * 6 and bench.asked == 6 and found.result == "done"
    assert found.time("total_latency")["interval"] == [1.0, 1.0]


def test_warm_ups_do_not_count():
    found, _, _ = run([50.0, 40.0, 1.0], warmup=2, seconds=1e4)
    assert found.seconds == [1.0] * 6


def test_an_unsteady_body_takes_more_until_its_median_is_known():
    found, bench, _ = run([1.0] + [0.5, 1.5] * 3 + [1.0] * 1000, seconds=1e9)
    assert bench.asked == 6 and 6 < len(found.seconds) < 60
    low, high = found.time("total_latency")["interval"]
    assert high - low <= 0.04
    assert len(found.seconds) == len(found.host), "both clocks saw every round"


def test_rounds_cover_a_span_and_those_that_count_are_spread_over_it():
    clock, noted = FakeClock(), []
    found, _, _ = run([SPAN / 10_000], clock=clock, setup=lambda: noted.append(clock.now))
    assert SPAN <= clock.now <= 1.01 * SPAN and len(found.seconds) == len(found.host) == MOST * 6
    starts = found.of_rounds(noted)
    assert starts == sorted(set(starts)) and len(starts) == len(found.seconds)
    halves = sum(start < SPAN / 2 for start in starts) / len(starts)
    assert 0.45 < halves < 0.55, "each moment of the span weighs the same"


def test_of_a_machine_whose_moments_differ_the_median_is_that_of_the_span():
    fast, slow = SPAN / 1000, SPAN / 500
    found, _, _ = run([fast] * 200 + [slow] * 20_000)
    assert median(found.seconds) == pytest.approx(slow), (
        "the first moments agreed with each other, and were a fifth of the span"
    )


def test_what_never_settles_ends():
    found, _, _ = run([1.0] + [0.5, 1.5] * 10_000, seconds=1e9)
    assert len(found.seconds) == MOST * 6


def test_no_round_begins_when_time_is_up():
    found, _, clock = run([1.0] + [0.5, 1.5] * 10_000, seconds=20.0)
    assert clock.now <= 1.0 + 20.0 + 1.5 and len(found.seconds) >= 19


@pytest.mark.parametrize(("seconds", "rounds"), [(70.0, 1), (25.0, 1), (150.0, 2), (1e4, 6)])
def test_a_long_body_takes_as_many_rounds_as_fit_and_at_least_one(seconds, rounds):
    found, _, _ = run([70.0], warmup=5, seconds=seconds)
    assert len(found.seconds) == rounds
    assert ("interval" in found.time("total_latency")) == (rounds >= 6)


def test_without_a_warm_up_one_round_says_how_long_it_is():
    found, bench, _ = run([1.0], warmup=0)
    assert bench.asked == 1 and len(found.seconds) == 6


def test_setup_runs_untimed_before_every_round():
    clock, calls = FakeClock(), []
    found, _, _ = run([1.0], clock=clock, setup=lambda: (calls.append(1), clock.advance(5.0)), seconds=1e4)
    assert found.seconds == [1.0] * 6 and found.host == [1.0] * 6 and len(calls) == 7


def test_without_timing_the_body_runs_once():
    found, _, clock = run([1.0], disabled=True)
    assert not found and found.result == "done" and clock.now == 1.0


class First(Alone):
    """The rank that decides; ``said`` is what it tells the others."""

    def __init__(self, said):
        self.said = said

    def agreed(self, number):
        self.said.append(number)
        return number

    def again(self, wanted, possible):
        return bool(self.agreed(wanted))


class Second(First):
    """A rank that is told."""

    def agreed(self, number):
        return self.said.pop(0)


@pytest.mark.parametrize("least", [0.0, 1e9])
def test_ranks_run_a_body_as_often_whatever_their_own_clocks_say(least):
    def runs(turn, durations):
        clock, ran = FakeClock(), []

        def body():
            ran.append(clock.now)
            clock.advance(durations[len(ran) % len(durations)])

        settings = SimpleNamespace(warmup=5, rounds=6, precision=0.02, seconds=30.0)
        timed(Bench(clock), body, settings, clock, clock, least=least, turn=turn, now=clock)
        return len(ran)

    said = []
    alone = runs(Alone(), [3.0]), runs(Alone(), [0.1, 0.3, 0.2])
    assert alone[0] != alone[1], "left to themselves they part"
    assert runs(First(said), [3.0]) == runs(Second(said), [0.1, 0.3, 0.2]) == alone[0] and not said
