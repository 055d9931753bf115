"""Rounds: as many as the grid asks for, then more until the median is known well enough or time is up.

A machine that is shared has moments. Rounds of one moment agree with each other, and not with the next; so they cover a
span, however well they agree, and those that count are spread over it, where the machine was calm. See
:mod:`kvgpt.measure.calm` and :mod:`kvgpt.measure.turns`.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol, TypeVar

from kvgpt.measure.calm import Gauge
from kvgpt.measure.moments import Moments
from kvgpt.measure.turns import Alone, Turn
from kvgpt.record import metric
from kvgpt.statistics import median, median_interval

MOST = 50  # times the rounds that the grid asks for: what is not tight by then is as noisy as it looks
Noted = TypeVar("Noted")


class Effort(Protocol):
    """How long to try, as a run's settings say it; see :class:`kvgpt.options.Settings`."""

    @property
    def warmup(self) -> int: ...
    @property
    def rounds(self) -> int: ...
    @property
    def precision(self) -> float: ...
    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True)
class Timed:
    """Seconds of each round that counts by the device's clock and by the host's, and what the first round returned.

    Both lists are empty where pytest-benchmark was told not to time. ``kept`` has the places of these rounds among all
    runs of the body, warm-ups included; ``details`` say how calm the machine was.
    """

    seconds: Sequence[float]
    host: Sequence[float]
    result: Any
    kept: Sequence[int] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def of_rounds(self, noted: Sequence[Noted]) -> list[Noted]:
        """Of what the body noted each time that it ran, that of the rounds that count."""
        return [noted[place] for place in self.kept]

    def __bool__(self) -> bool:
        return bool(self.seconds)

    @property
    def median(self) -> float:
        return median(self.seconds)

    def time(self, name: str, share: float = 1.0) -> dict[str, Any]:
        """The median as a metric, with its interval: ``share`` of each round."""
        return time_metric(name, [share * seconds for seconds in self.seconds])

    def rate(self, name: str, amount: float) -> dict[str, Any]:
        """``amount`` a second, as a metric."""
        interval = median_interval(self.seconds)
        bounds = None if interval is None else (amount / interval[1], amount / interval[0])
        return metric(name, amount / median(self.seconds), interval=bounds)


def time_metric(name: str, samples: Sequence[float]) -> dict[str, Any]:
    """The median of samples as a metric, with the interval that holds it."""
    return metric(name, median(samples), interval=median_interval(samples), samples=samples)


def timed(
    benchmark: Any,
    body: Callable[[], Any],
    effort: Effort,
    clock: Callable[[], Any],
    host: Callable[[], float],
    setup: Callable[[], object] = lambda: None,
    least: float = 0.0,
    turn: Turn | None = None,
    gauge: Gauge | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Timed:
    """Run ``body`` in pytest-benchmark's pedantic mode, ``setup`` untimed before each round.

    ``clock`` must be the timer of the benchmark's marker. Warm-ups take at most half of ``effort.seconds``, and after
    the first no round begins that would not end in time; a round that takes ``least`` seconds at best, beyond that
    time, is not warmed up. ``turn`` is taken with another process that measures the same. Rounds count where ``gauge``
    finds the machine calm, and a case may last longer to have enough of them. ``now`` says what time it is.
    """
    turn, gauge = turn or Alone(), gauge or Gauge({})
    places, starts, walls = count(), list[float](), deque[float](maxlen=MOST)

    def ready() -> None:
        turn.rest()
        setup()

    def before() -> None:  # what it returned, pytest-benchmark would take for arguments
        ready()
        starts.append(host())

    def after() -> None:
        ended(benchmark.stats.stats.data[-1], host() - starts.pop())

    def ended(seconds: float, wall: float) -> None:
        by_now = max(effort.rounds, most * min(1.0, (spent() - begun) / turn.span))
        moments.add(next(places), seconds, wall, by_now)
        walls.append(wall)

    def spent() -> float:
        return now() - turn.waited

    if benchmark.disabled:
        return Timed((), (), benchmark.pedantic(body, setup=before))
    begun, longest = spent(), 0.0
    for _ in range(turn.agreed(effort.warmup if least <= effort.seconds else 0)):
        longest = max(longest, _round(body, setup, host, host)[0])
        next(places)
        if turn.agreed(spent() - begun > effort.seconds / 2):
            break
    moments, begun = Moments(gauge, now), spent()
    fit = int(effort.seconds / longest) if longest else 1  # without a warm-up nothing is known yet
    rounds, most = turn.agreed(max(1, min(effort.rounds, fit))), MOST * effort.rounds
    result = benchmark.pedantic(body, setup=before, teardown=after, rounds=rounds)
    while True:
        covered, usual = spent() - begun, median(walls)
        calm = [one.seconds for one in moments.calm]
        needed = max(1, min(effort.rounds, int(effort.seconds / usual)))
        settled = moments.are_calm(needed)
        possible = covered + usual <= effort.seconds + (0.0 if settled else gauge.patience(effort.seconds))
        if not turn.again(possible and not (covered >= turn.span and settled and _enough(calm, effort)), possible):
            break
        ended(*_round(body, ready, clock, host))
    moments.close(most)
    gauge.left = max(0.0, gauge.left - max(0.0, covered - effort.seconds))
    counted = moments.counted(needed)
    seconds = benchmark.stats.stats.data
    seconds[:] = [one.seconds for one in counted]
    return Timed(
        seconds, [one.wall for one in counted], result, [one.place for one in counted], moments.details(counted)
    )


def _enough(samples: Sequence[float], effort: Effort) -> bool:
    if len(samples) < effort.rounds:
        return False
    interval = median_interval(samples)
    tight = interval is not None and interval[1] - interval[0] <= 2 * effort.precision * median(samples)
    return tight or len(samples) >= MOST * effort.rounds


def _round(
    body: Callable[[], Any], setup: Callable[[], object], clock: Callable[[], Any], host: Callable[[], float]
) -> tuple[float, float]:
    setup()
    begun, start = host(), clock()
    body()
    end = clock()
    ended = host()
    return end - start, ended - begun
