"""Moments: the rounds of one case between pulses, and which of them count; see :mod:`kvgpt.measure.calm`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kvgpt.measure.calm import Gauge
from kvgpt.pulses import LIMIT, Pulse, folded

MOMENT, PULSES = 0.02, 10  # s between two pulses, or as many times what they take, unless one round takes longer
NEAR = 0.05  # s that a moment lasts at most for the pulses of its neighbours to say something of it
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
        self._latest, self._undecided = list[Round](), list[Round]()  # of this moment, and of the one before
        self.calm, self._others, self._one_of_each = list[Round](), list[Round](), list[Round]()
        self._lasted, self._ran = list[float](), list[int]()  # s, and rounds, of each moment
        self._calm_ran = 0  # rounds of those that were calm

    @property
    def calm_share(self) -> float:
        """Of all rounds; 1 where nobody knows."""
        return self._calm_ran / sum(self._ran) if self._ran and self._gauge.best else 1.0

    def are_calm(self, least: int) -> bool:
        """Whether so many rounds are, and enough of all that it is no chance: pulses scatter as everything does."""
        return len(self.calm) >= least and self.calm_share >= SHARE

    def add(self, place: int, seconds: float, wall: float, most: float) -> None:
        """A round has ended; ``most`` of the calm ones, and of the others, are kept by now."""
        self._latest.append(Round(place, seconds, wall, len(self._ran)))
        length = max(MOMENT, PULSES * sum(self._pulses[-1].values()))
        if not self._gauge.best or self._now() - self._since >= length:
            self.end(most)

    def end(self, most: float) -> None:
        """Take the pulse that ends a moment and begins the next."""
        if not self._latest:
            return
        best = dict(self._gauge.best)
        self._lasted.append(self._now() - self._since)
        self._pulses.append(self._gauge.pulse())
        if self._gauge.best != best:  # the machine is faster than it seemed
            self._others += [one for one in self.calm if not self._is_calm(one.moment)]
            self.calm = [one for one in self.calm if self._is_calm(one.moment)]
            decided = range(len(self._ran) - bool(self._undecided))
            self._calm_ran = sum(self._ran[moment] for moment in decided if self._is_calm(moment))
        self._ran.append(len(self._latest))
        self._one_of_each.append(self._latest[len(self._latest) // 2])
        self._decide(most)
        self._undecided, self._latest = self._latest, []
        if not best or self._lasted[-1] > NEAR:
            self._decide(most)
        self._since = self._now()

    def close(self, most: float) -> None:
        """End the last moment, too: there are no more."""
        self.end(most)
        self._decide(most)

    def _decide(self, most: float) -> None:
        """Sort the rounds of a moment around which all pulses are known."""
        if not self._undecided:
            return
        moment = self._undecided[0].moment
        calm = self._is_calm(moment)
        self._calm_ran += self._ran[moment] if calm else 0
        kept = self.calm if calm else self._others
        kept += self._undecided[: max(0, int(most) - len(kept))]
        self._undecided = []

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
        pulses = [pulse for one in counted for pulse in self._around(one.moment)]
        read = self._gauge.bandwidth(pulses)
        return {
            "calm_share": self.calm_share,
            "pulse": folded(pulses),
            **({"read_bandwidth": read} if read else {}),
        }

    def _around(self, moment: int) -> list[Pulse]:
        """The pulses at its ends, and where it was short those next to them: a single one may be low by luck."""
        more = self._lasted[moment] <= NEAR
        return self._pulses[max(0, moment - more) : moment + 2 + more]

    def _is_calm(self, moment: int) -> bool:
        return not self._gauge.best or max(map(self._gauge.slowness, self._around(moment))) <= LIMIT
