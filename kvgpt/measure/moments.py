"""Moments: the rounds of one case between pulses, and which of them count; see :mod:`kvgpt.measure.calm`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kvgpt.measure.calm import Gauge
from kvgpt.pulses import LIMIT, Pulse, folded

MOMENT, PULSES = 0.02, 10  # s between two pulses, or as many times what they take, unless one round takes longer
SHARE = 0.2  # of all rounds: where fewer were calm, their pulses were lucky


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
        self._one_of_each = list[Round]()
        self._ran, self._calm_ran = list[int](), 0  # rounds, in each moment and in all that were calm

    @property
    def calm_share(self) -> float:
        """Of all rounds; 1 where nobody knows."""
        return self._calm_ran / sum(self._ran) if self._ran and self._gauge.best else 1.0

    def are_calm(self, least: int) -> bool:
        """Whether so many rounds are, and enough of all that it is no chance: pulses scatter as everything does."""
        return len(self.calm) >= least and self.calm_share >= SHARE

    def add(self, place: int, seconds: float, wall: float, most: float) -> None:
        """A round has ended; ``most`` of the calm ones, and of the others, are kept by now."""
        self._latest.append(Round(place, seconds, wall, len(self._pulses) - 1))
        length = max(MOMENT, PULSES * sum(self._pulses[-1].values()))
        if not self._gauge.best or self._now() - self._since >= length:
            self.end(most)

    def end(self, most: float) -> None:
        """Take the pulse that ends a moment and begins the next."""
        if not self._latest:
            return
        ran, best = len(self._latest), dict(self._gauge.best)
        if best:
            self._pulses.append(self._gauge.pulse())
            self._one_of_each.append(self._latest[ran // 2])
        if self._gauge.best != best:  # the machine is faster than it seemed
            self._others += [one for one in self.calm if not self._is_calm(one.moment)]
            self.calm = [one for one in self.calm if self._is_calm(one.moment)]
            self._calm_ran = sum(ran for moment, ran in enumerate(self._ran) if self._is_calm(moment))
        calm = self._is_calm(self._latest[0].moment)
        self._ran.append(ran)
        self._calm_ran += ran if calm else 0
        kept = self.calm if calm else self._others
        kept += self._latest[: max(0, int(most) - len(kept))]
        self._latest.clear()
        self._since = self._now()

    def counted(self, least: int) -> list[Round]:
        """The calm rounds in their order; where those are not enough, one of every moment, chosen by nothing."""
        counted = self.calm
        if not self.are_calm(least):
            counted = self._one_of_each if len(self._one_of_each) >= least else [*self.calm, *self._others]
        return sorted(counted, key=lambda one: one.place)

    def details(self, counted: Sequence[Round]) -> dict[str, Any]:
        """For a record: the share of all rounds that were calm, and of those that count the median pulse, by kind, and
        how fast memory was read at best between them.
        """
        if not self._gauge.best:
            return {}
        read = self._gauge.bandwidth(pulse for one in counted for pulse in self._around(one.moment))
        return {
            "calm_share": self.calm_share,
            "pulse": folded([pulse for one in counted for pulse in self._beyond(one.moment)]),
            **({"read_bandwidth": read} if read else {}),
        }

    def _around(self, moment: int) -> list[Pulse]:
        return self._pulses[moment : moment + 2]

    def _beyond(self, moment: int) -> list[Pulse]:
        """The pulses next to those around it. What chose a round by being low says too little of how slow it was."""
        beyond = self._pulses[max(0, moment - 1) : moment] + self._pulses[moment + 2 : moment + 3]
        return beyond or self._around(moment)

    def _is_calm(self, moment: int) -> bool:
        return max(map(self._gauge.slowness, self._around(moment))) <= LIMIT
