"""Calm: whether the processor is as fast as it has been in this run, as pulses between the rounds of a case tell.

A core that shares its units with a stranger's thread is up to twice as slow, and memory that others read, too, is
slower: for seconds at a time, and no counter of the kernel's says so. A pulse is a little work of the kinds that a step
is made of. Rounds count where the pulses before and after them took about as long as the best of the run: they are
chosen by their pulses alone, never by how long they took.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

import torch
from torch import Tensor

from kvgpt.measure.roof import SIZES, Roof, reading

LIMIT = 1.25  # times the best pulse: what disturbs is 1.4 and more, a processor that warms up stays below
MOMENT, PULSES = 0.05, 10  # s between two pulses, or as many times what they take, unless one round takes longer
LONGEST, IN_ALL = 10.0, 60.0  # s that a case, and a run, may last beyond its time to find moments that are calm
DISPATCHED, COMPUTED = 300, 6  # operations in a pulse, of which each takes 2 us, and 70 us
CHUNK = 32_768  # elements that torch gives a thread at the least
WARM_UPS = 5
Pulse = Mapping[str, float]  # kind of work -> seconds


class Gauge:
    """Takes pulses, and knows the best of each kind of work. Without ``work`` every moment is calm."""

    def __init__(
        self,
        work: Mapping[str, Callable[[], object]],
        of_a_case: Collection[str] = (),
        clock: Callable[[], float] = time.perf_counter,
        nbytes: int = 0,
    ) -> None:
        """How fast the work ``of_a_case`` is depends on what else is done, so that its best is that of each case.

        The kind "memory" reads ``nbytes``, where it is there and no cache near the cores holds them.
        """
        self._work, self._of_a_case, self._clock, self._nbytes = work, of_a_case, clock, nbytes
        self.best = dict.fromkeys(work, inf)
        self.patience = IN_ALL if work else 0.0
        for _ in range(WARM_UPS):
            self.pulse()

    def pulse(self) -> Pulse:
        """Do all of the work once; how long each kind of it took."""
        taken = {}
        for kind, run in self._work.items():
            begun = self._clock()
            run()
            taken[kind] = self._clock() - begun
            self.best[kind] = min(self.best[kind], taken[kind])
        return taken

    def begin_case(self) -> None:
        """Forget what another case left near the cores."""
        self.best |= dict.fromkeys(self._of_a_case, inf)

    def bandwidth(self, pulses: Iterable[Pulse]) -> float | None:
        """B/s at which these pulses read memory at best; None where they read caches, or nothing."""
        return self._nbytes / min(pulse["memory"] for pulse in pulses) if self._nbytes else None

    def roof(self) -> Roof:
        """What pulses say of the device: they are probes, too."""
        best = self.bandwidth([self.best])
        return Roof(read={SIZES["cpu"][-1]: best} if best else {})

    def slowness(self, pulse: Pulse) -> float:
        """Times the best so far that the slowest kind of work took."""
        return max((seconds / self.best[kind] for kind, seconds in pulse.items()), default=1.0)


def of_processor(cached: Iterable[Tensor] = ()) -> Gauge:
    """A gauge of the cores that torch uses, and of the caches they read these weights from; without any, of memory."""
    few, many = torch.zeros(8, 8), torch.zeros(torch.get_num_threads() * CHUNK)
    near = [one.detach().view(-1).view(torch.int8) for one in cached if one.is_contiguous()]
    memory = reading("cpu", SIZES["cpu"][-1])
    return Gauge(
        {
            "dispatch": lambda: [few.add_(0) for _ in range(DISPATCHED)],
            "cores": lambda: [torch.sin(many, out=many) for _ in range(COMPUTED)],
            "memory": (lambda: [one.amax() for one in near]) if near else memory.run,
        },
        of_a_case=["memory"] if near else [],
        nbytes=0 if near else memory.amount,
    )


def slower(passes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Of each pass, entries by name, the cases in which it met a slower machine than the calmest pass did."""
    best = dict[tuple[str, str], float]()
    for name, kind, seconds in (one for entries in passes for one in _pulses(entries)):
        best[name, kind] = min(seconds, best.get((name, kind), inf))
    slow = [[name for name, kind, seconds in _pulses(one) if seconds > LIMIT * best[name, kind]] for one in passes]
    return [list(dict.fromkeys(names)) for names in slow]


def _pulses(entries: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    for name, entry in entries.items():
        for kind, seconds in entry["extra_info"]["kvgpt"].get("details", {}).get("pulse", {}).items():
            yield name, kind, seconds


@dataclass(frozen=True)
class Round:
    """A round: its place among all runs of the body, its seconds by two clocks, and the moment that it fell into."""

    place: int
    seconds: float
    wall: float
    moment: int


class Moments:
    """The rounds of one case, and the pulses that part them into moments."""

    def __init__(self, gauge: Gauge, now: Callable[[], float]) -> None:
        gauge.begin_case()
        self._gauge, self._now, self._since = gauge, now, now()
        self._pulses = [gauge.pulse()]
        self._latest, self.calm, self._others = list[Round](), list[Round](), list[Round]()
        self._ran = self._ran_calm = 0

    def add(self, place: int, seconds: float, wall: float, most: float) -> None:
        """A round has ended; ``most`` of the calm ones, and of the others, are kept by now."""
        self._latest.append(Round(place, seconds, wall, len(self._pulses) - 1))
        length = max(MOMENT, PULSES * sum(self._pulses[-1].values()))
        if not self._gauge.best or self._now() - self._since >= length:
            self.end(most)

    def end(self, most: float) -> None:
        """Take the pulse that ends a moment and begins the next."""
        if self._gauge.best:
            best = dict(self._gauge.best)
            self._pulses.append(self._gauge.pulse())
            if self._gauge.best != best:  # the machine is faster than it seemed
                self._others += [one for one in self.calm if not self._is_calm(one)]
                self.calm = [one for one in self.calm if self._is_calm(one)]
        calm = all(map(self._is_calm, self._latest))
        self._ran += len(self._latest)
        self._ran_calm += calm * len(self._latest)
        kept = self.calm if calm else self._others
        kept += self._latest[: max(0, int(most) - len(kept))]
        self._latest.clear()
        self._since = self._now()

    def counted(self, least: int) -> list[Round]:
        """The calm rounds in their order; or, where those are fewer than ``least``, so many of the calmest."""
        counted = self.calm
        if len(counted) < least:
            counted = sorted([*self.calm, *self._others], key=self._slowness)[:least]
        return sorted(counted, key=lambda one: one.place)

    def details(self, counted: Sequence[Round]) -> dict[str, Any]:
        """For a record: the share of all rounds that were calm, and of those that count the median pulse, by kind, and
        how fast memory was read at best between them.
        """
        if not self._gauge.best:
            return {}
        pulses = [pulse for one in counted for pulse in self._around(one)]
        medians = {kind: median(pulse[kind] for pulse in pulses) for kind in self._gauge.best}
        read = self._gauge.bandwidth(pulses)
        return {
            "calm_share": self._ran_calm / self._ran,
            "pulse": medians,
            **({"read_bandwidth": read} if read else {}),
        }

    def _around(self, one: Round) -> list[Pulse]:
        return self._pulses[one.moment : one.moment + 2]

    def _slowness(self, one: Round) -> float:
        return max(map(self._gauge.slowness, self._around(one)))

    def _is_calm(self, one: Round) -> bool:
        return self._slowness(one) <= LIMIT
