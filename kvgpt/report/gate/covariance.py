"""Covariance: what of the difference between two sides their machines' pulses explain, by how a case follows its own.

A pass on a slower machine takes longer, and so do its pulses. By how much a case follows them is seen among the passes
of either side by themselves, where the code is the same; what the sides' pulses differ by is taken off accordingly.
That is an analysis of covariance (R. A. Fisher, Statistical Methods for Research Workers, 4th ed. 1932, section 49.1).
Of the kinds of work in a pulse that counts which a case follows most closely.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from kvgpt.pulses import Pulse, folded
from kvgpt.report.gate.slower import Slower

SCATTER = 0.02  # by which the log of a pass's pulses strays by itself, or less
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """How two sides differ in the log, or what the log-ratios of their pairs come to."""

    change: float
    residuals: Sequence[Array]  # by side
    freedom: int
    reach: float = 1.0  # times as far as the mean of as many residuals does the change stray
    explained: float = 0.0  # by pulses, and taken off
    slower: Slower | None = None  # by kinds of work of which nobody knows how the case follows them

    @property
    def scale(self) -> float:
        """The spread of one sample."""
        return sqrt(self.squares / self.freedom)

    @property
    def squares(self) -> float:
        return sum(float(one @ one) for one in self.residuals)

    @property
    def drawn_from(self) -> Array:
        """Residuals as large as the noise: their own are smaller, since they were fitted."""
        together = np.concatenate(self.residuals)
        return together * sqrt(len(together) / self.freedom)


def plain(sides: Sequence[Array]) -> Fit:
    """Of the sides' means; of one side, its mean itself."""
    change = float(sides[0].mean() - (sides[1].mean() if len(sides) > 1 else 0.0))
    return Fit(change, [side - side.mean() for side in sides], sum(len(side) - 1 for side in sides))


def fit(after: Array, before: Array, of_after: Sequence[Pulse], of_before: Sequence[Pulse]) -> Fit:
    """Of the new side's logs and the base's, with the pulses of each.

    Where pulses vary within the sides no more than they stray by themselves, nobody knows how the case follows them: it
    may follow what the sides' pulses differ by, or not.
    """
    bare, base, new = plain([after, before]), 0.0, 0.0
    found = list[Fit]()
    for kind in folded([*of_after, *of_before]):
        within = plain([np.log([pulse[kind] for pulse in side]) for side in (of_after, of_before)])
        strays = SCATTER**2 * within.freedom
        unknown = within.change * min(1.0, strays / within.squares if within.squares else 1.0)
        base, new = max(base, -unknown), max(new, unknown)
        if within.squares > strays:
            found.append(_followed(bare, within))
    if found:  # the choice is fitted, too
        found = [replace(one, freedom=one.freedom - 1) for one in (bare, *found)]
    return replace(min(found or [bare], key=lambda one: one.scale), slower=Slower(exp(base), exp(new)))


def _followed(bare: Fit, within: Fit) -> Fit:
    """What is left of the sides' difference when the case is taken to follow this kind of work."""
    slope = sum(float(x @ y) for x, y in zip(within.residuals, bare.residuals, strict=True)) / within.squares
    weight = sum(1 / len(side) for side in bare.residuals)
    explained = slope * within.change
    return Fit(
        bare.change - explained,
        [y - slope * x for x, y in zip(within.residuals, bare.residuals, strict=True)],
        bare.freedom - 1,
        sqrt(1 + within.change**2 / within.squares / weight),
        explained,
    )
