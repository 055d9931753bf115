"""Moments: the rounds of one case between pulses, and which of them count; see :mod:`kvgpt.measure.calm`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kvgpt.measure.calm import Gauge
from kvgpt.pulses import LIMIT, Pulse, folded

MOMENT, PULSES = 0.02, 10  # s between two pulses, or as many times what they take, unless one round takes longer


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
        self._ran = list[int]()  # in each moment

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
        self._ran.append(len(self._latest))
        kept = self.calm if calm else self._others
        kept += self._latest[: max(0, int(most) - len(kept))]
        self._latest.clear()
        self._since = self._now()

    def counted(self, least: int) -> list[Round]:
        """The calm rounds in their order; or, where those are fewer than ``least``, so many of the calmest."""
        counted = self.calm
        if len(counted) < least:
            counted = sorted([*self.calm, *self._others], key=lambda one: self._slowness(one.moment))[:least]
        return sorted(counted, key=lambda one: one.place)

    def details(self, counted: Sequence[Round]) -> dict[str, Any]:
        """For a record: the share of all rounds that were calm, and of those that count the median pulse, by kind, and
        how fast memory was read at best between them.
        """
        if not self._gauge.best:
            return {}
        pulses = [pulse for one in counted for pulse in self._around(one.moment)]
        calm = sum(ran for moment, ran in enumerate(self._ran) if self._slowness(moment) <= LIMIT)
        read = self._gauge.bandwidth(pulses)
        return {
            "calm_share": calm / sum(self._ran),
            "pulse": folded(pulses),
            **({"read_bandwidth": read} if read else {}),
        }

    def _around(self, moment: int) -> list[Pulse]:
        return self._pulses[moment : moment + 2]

    def _slowness(self, moment: int) -> float:
        return max(map(self._gauge.slowness, self._around(moment)))

    def _is_calm(self, one: Round) -> bool:
        return self._slowness(one.moment) <= LIMIT
