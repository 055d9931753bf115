"""Phases: where a generation's time goes, so that the parts make the whole.

A mark is one of torch's own hooks; it reads the device's clock where a phase begins, and nothing waits for it. The time
from one mark to the next belongs to the phase in between, so no time is left over and none is counted twice: what the
engine does from the end of one step's head to the beginning of the next step's embedding is timed as ``other``.

What the marks cost is found on the spot, by generations with a mark before every other module too. It cannot be found
on modules that do nothing: a mark takes the host's time where the host is what a step waits for, and the stream's where
the device is, which is less. Nor as what marked generations take longer than unmarked ones: the parts would then make
the whole whatever they were. As it is, the unmarked generations are a check: :func:`imbalance`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from typing import Any

from torch import nn

from kvgpt.measure.rounds import time_metric
from kvgpt.model import GPT
from kvgpt.record import metric
from kvgpt.statistics import median

PHASES = ("embedding", "attention", "mlp", "head", "other")
TOLERANCE = 0.03  # of the whole, between it and the sum of its parts


@dataclass(frozen=True)
class Division:
    """One generation by phase: seconds, the cost of its marks among them, and the number of marks that they hold."""

    seconds: Mapping[str, float]
    marks: Mapping[str, int]

    @property
    def total(self) -> float:
        return fsum(self.seconds.values())

    @property
    def count(self) -> int:
        return sum(self.marks.values())


def divided(body: Callable[[], object], model: GPT, clock: Callable[[], Any], finely: bool = False) -> Division:
    """Run ``body``, which generates through ``model``, and divide its time among :data:`PHASES`.

    ``clock`` gives readings of which a later less an earlier one is seconds; they are subtracted once ``body`` is done.
    ``finely`` adds a mark before every module at which no phase begins. The hooks are gone afterwards, also where
    ``body`` raises.
    """
    readings: list[tuple[str | None, Any]] = []

    def mark(phase: str | None) -> Callable[..., None]:
        return lambda *_: readings.append((phase, clock()))

    with ExitStack() as hooks:
        for phase, register in _boundaries(model):
            hooks.enter_context(register(mark(phase)))
        for module in _others(model) if finely else ():
            hooks.enter_context(module.register_forward_pre_hook(mark(None)))
        mark("other")()
        body()
        mark(None)()

    spent: dict[str, list[float]] = {phase: [] for phase in PHASES}
    current = "other"
    for (begins, start), (_, end) in pairwise(readings):
        current = begins or current
        spent[current].append(end - start)
    marks = {phase: len(parts) for phase, parts in spent.items()}
    marks["other"] -= 1  # the first and the last reading are not hooks: an unmarked round is read twice as well
    return Division({phase: fsum(parts) for phase, parts in spent.items()}, marks)


def _boundaries(model: GPT) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each phase with the hook at which it begins.

    A residual addition comes after its module has returned: a phase therefore ends where the next one begins, and after
    the last layer where that layer ends. The tied projection is no module: the model's own end is its end.
    """
    yield "embedding", model.register_forward_pre_hook
    for block in model.blocks():
        yield "attention", block.register_forward_pre_hook
        yield "mlp", block.ln_2.register_forward_pre_hook
    yield "head", block.register_forward_hook
    yield "other", model.register_forward_hook


def _others(model: GPT) -> Iterator[nn.Module]:
    """The modules at which no phase begins."""
    marked = {model, *model.blocks(), *(block.ln_2 for block in model.blocks())}
    return (module for module in model.modules() if module not in marked)


class Turns:
    """Marked generations beside each unmarked round: finely, once, unmarked; in every second turn backwards.

    What is compared stands side by side: the finely marked with the marked, for the cost of a mark, and the marked with
    the unmarked, for the whole. A machine that grows slower or faster favours neither. ``divide(finely)`` runs the
    marked ones.
    """

    def __init__(self, divide: Callable[[bool], Division]) -> None:
        self._divide = divide
        self.once, self.finely = list[Division](), list[Division]()
        self._owed = self._backwards = False

    def before(self) -> None:
        """Before every unmarked round: its setup."""
        self.finish()
        if self._backwards:
            self._owed = True
        else:
            self.finely.append(self._divide(True))
            self.once.append(self._divide(False))
        self._backwards = not self._backwards

    def finish(self) -> None:
        """After the last unmarked round: what its turn still lacks."""
        if self._owed:
            self.once.append(self._divide(False))
            self.finely.append(self._divide(True))
        self._owed = False

    def summary(self, whole: Sequence[float]) -> dict[str, dict[str, Any]]:
        """:func:`summary` of the last turns: those of the unmarked rounds that counted, ``whole`` seconds each."""
        return summary(whole, self.once[-len(whole) :], self.finely[-len(whole) :])


def summary(whole: Sequence[float], once: Sequence[Division], finely: Sequence[Division]) -> dict[str, dict[str, Any]]:
    """``total_latency`` of the unmarked rounds, each ``phase_*``, their ``phase_sum``, and a mark's ``hook_cost``.

    A turn's marked times are taken relative to its own unmarked round, and put in seconds by the median of those: a
    machine that is slower in one turn than in another is so for all three, and the shares stay. An interval is that of
    the share. ``hook_cost`` may come out below zero where noise is larger than it; to bend it to zero would favour one
    direction. ``phase_sum`` adds the figures as they are published, so that a reader's sum is the one that was checked.
    """
    typical = median(whole)
    scales = [typical / seconds for seconds in whole]
    costs = [
        scale * (fine.total - one.total) / (fine.count - one.count)
        for scale, one, fine in zip(scales, once, finely, strict=True)
    ]
    cost = median(costs)
    phases = {
        f"phase_{phase}": time_metric(
            f"phase_{phase}",
            [scale * one.seconds[phase] - cost * one.marks[phase] for scale, one in zip(scales, once, strict=True)],
        )
        for phase in PHASES
    }
    return {
        "total_latency": time_metric("total_latency", whole),
        **phases,
        "phase_sum": metric("phase_sum", fsum(figure["value"] for figure in phases.values())),
        "hook_cost": time_metric("hook_cost", costs),
    }


def imbalance(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why these figures are no division of the whole, where they are none."""
    parts, whole = (metrics[name]["value"] for name in ("phase_sum", "total_latency"))
    notes = [
        f"phase_{phase} comes out at {metrics[f'phase_{phase}']['value']:.4g} s: noise hides what its marks cost"
        for phase in PHASES
        if metrics[f"phase_{phase}"]["value"] < 0
    ]
    if abs(parts - whole) > TOLERANCE * whole:
        notes.append(
            f"the phases sum to {parts:.4g} s, {parts / whole - 1:+.1%} from the {whole:.4g} s that the same "
            f"generation takes without marks: {TOLERANCE:.0%} is allowed"
        )
    return notes
