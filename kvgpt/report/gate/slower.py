"""How much slower one side's machine was than the other's, as pulses tell, and what that leaves open."""

from dataclasses import dataclass
from typing import Self

from kvgpt.pulses import LIMIT, Pulse, slowness


@dataclass(frozen=True)
class Slower:
    """Times as slow as the other's that each side's machine was, where it was slower; else 1."""

    base: float = 1.0
    new: float = 1.0

    @classmethod
    def of(cls, base: Pulse, new: Pulse) -> Self:
        """By the kind of work that was slowest, of those that both have."""
        return cls(max(1.0, slowness(base, new)), max(1.0, slowness(new, base)))

    def changed(self, lower_is_better: bool) -> tuple[float, float]:
        """Times by which the machines may have raised, and lowered, the new figure."""
        return (self.new, self.base) if lower_is_better else (self.base, self.new)

    @property
    def reason(self) -> str:
        """Which side met a much slower machine, and what to do; empty where neither did."""
        for side, factor in (("base", self.base), ("new", self.new)):
            if factor > LIMIT:
                return f"the {side} results met a machine {factor:.1f} times as slow: measure them again"
        return ""
