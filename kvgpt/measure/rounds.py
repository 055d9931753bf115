"""Rounds: as many as the grid asks for, then more until the median is known well enough or time is up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kvgpt.record import metric
from kvgpt.statistics import median, median_interval

MOST = 50  # times the rounds that the grid asks for: what is not tight by then is as noisy as it looks


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
    """Seconds of each round by the device's clock and by the host's, and what the first round returned.

    Both lists are empty where pytest-benchmark was told not to time.
    """

    seconds: Sequence[float]
    host: Sequence[float]
    result: Any

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
    now: Callable[[], float] = time.perf_counter,
) -> Timed:
    """Run ``body`` in pytest-benchmark's pedantic mode, ``setup`` untimed before each round.

    ``clock`` must be the timer of the benchmark's marker. Warm-ups take at most half of ``effort.seconds``, and after
    the first no round begins that would not end in time; a round that takes ``least`` seconds at best, beyond that
    time, is not warmed up. ``now`` says what time it is.
    """
    watch = list[float]()

    def before() -> None:  # what it returned, pytest-benchmark would take for arguments
        setup()
        watch.append(host())

    def after() -> None:
        watch.append(host())

    if benchmark.disabled:
        return Timed((), (), benchmark.pedantic(body, setup=before))
    begun, longest = now(), 0.0
    for _ in range(effort.warmup if least <= effort.seconds else 0):
        longest = max(longest, _round(body, setup, host, host)[0])
        if now() - begun > effort.seconds / 2:
            break
    begun = now()
    fit = int(effort.seconds / longest) if longest else 1  # without a warm-up nothing is known yet
    rounds = max(1, min(effort.rounds, fit))
    result = benchmark.pedantic(body, setup=before, teardown=after, rounds=rounds)
    samples = benchmark.stats.stats.data
    walls = [end - start for start, end in zip(watch[::2], watch[1::2], strict=True)]
    while now() - begun + median(walls) <= effort.seconds and not _enough(samples, effort):
        seconds, wall = _round(body, setup, clock, host)
        benchmark.stats.update(seconds)
        walls.append(wall)
    return Timed(samples, walls, result)


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
