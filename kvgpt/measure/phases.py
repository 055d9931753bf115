"""Phases: where a generation's time goes, so that the parts make the whole.

A mark is one of torch's own hooks; it reads the device's clock where a phase begins, and nothing waits for it. The time
from one mark to the next belongs to the phase in between, so no time is left over and none is counted twice: what the
engine does from the end of one step's head to the beginning of the next step's embedding is timed as ``other``.

The steps of a generation are of three kinds in turn: unmarked, whose time is the whole; marked, which is divided; and
marked before every other module too, which tells what a mark costs. What is compared lies a step apart, so a machine
that grows slower favours no kind, and three generations have every step of each kind. A mark's cost cannot be
found on modules that do nothing: it takes the host's time where the host is what a step waits for, and the stream's
where the device is, which is less. Nor as what marked steps take longer than unmarked ones: the parts would then make
the whole whatever they were. As it is, the unmarked steps are a check: :func:`imbalance`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import fsum
from typing import Any

from torch import nn

from kvgpt.model import GPT
from kvgpt.record import metric

KINDS, FINELY = 3, 2  # of steps: unmarked, marked, finely marked
PHASES = ("embedding", "attention", "mlp", "head", "other")
TOLERANCE = 0.03  # of the whole, between it and the sum of its parts


Readings = list[tuple[str | None, Any]]  # of a clock: the phase that begins there, None where the last goes on


@dataclass(frozen=True)
class Division:
    """Some time by phase: seconds, the cost of its marks among them, and the number of marks that they hold."""

    seconds: Mapping[str, float]
    marks: Mapping[str, int]

    @property
    def total(self) -> float:
        return fsum(self.seconds.values())

    @property
    def count(self) -> int:
        return sum(self.marks.values())


def marked(body: Callable[[], object], model: GPT, clock: Callable[[], Any], finely: bool = False) -> Readings:
    """Run ``body``, which steps through ``model``, and read ``clock`` where it begins, at every mark and at its end.

    ``finely`` adds a mark before every module at which no phase begins. The hooks are gone afterwards, also where
    ``body`` raises.
    """
    readings: Readings = []

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
    return readings


def divided(readings: Readings) -> Division:
    """The time between the first and the last of :func:`marked`'s readings, by :data:`PHASES`."""
    spent: dict[str, list[float]] = {phase: [] for phase in PHASES}
    current = "other"
    for (begins, start), (_, end) in pairwise(readings):
        current = begins or current
        spent[current].append(end - start)
    marks = {phase: len(parts) for phase, parts in spent.items()}
    marks["other"] -= 1  # the first and the last reading are not hooks: an unmarked step is read twice as well
    return Division({phase: fsum(parts) for phase, parts in spent.items()}, marks)


@dataclass(frozen=True)
class Step:
    """One step of a generation: how it was marked, and its time by phase, all of it ``other`` where it was not."""

    kind: int
    division: Division


def interleaved(generation: Iterator[object], model: GPT, clock: Callable[[], Any], first: int = 0) -> list[Step]:
    """Generate, each item a step, its kind (unmarked, marked, finely marked) the next in turn, from ``first`` on.

    Generations that begin with each kind in turn have each step of each kind. Every second time round, the kinds follow
    each other the other way. Nothing is subtracted before the last step is done.
    """
    readings: list[tuple[int, Readings]] = []
    way = -1 if first // KINDS % 2 else 1
    while True:
        kind = (first + way * len(readings)) % KINDS
        try:
            readings.append((kind, _step(generation, kind, model, clock)))
        except StopIteration:
            return [Step(kind, divided(step)) for kind, step in readings]


def _step(generation: Iterator[object], kind: int, model: GPT, clock: Callable[[], Any]) -> Readings:
    """The next step, with the marks of its kind: none, one a phase, or one a module."""
    if kind:
        return marked(partial(next, generation), model, clock, finely=kind == FINELY)
    marked(_nothing, model, clock)  # so that this step too comes after hooks were hung up, and finds the caches as cold
    begun = clock()
    next(generation)
    return [("other", begun), (None, clock())]


def _nothing() -> None:
    """A body in which no phase begins."""


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


def summary(generations: Sequence[Sequence[Step]]) -> dict[str, dict[str, Any]]:
    """``total_latency`` of unmarked steps, each ``phase_*``, their ``phase_sum``, and a mark's ``hook_cost``.

    ``hook_cost`` may come out below zero where noise is larger than it; to bend it to zero would favour one direction.
    ``phase_sum`` adds the figures as they are published, so that a reader's sum is the one that was checked.
    """
    unmarked, once, finely = (_typical(generations, kind) for kind in range(KINDS))
    more = sum(one.count for one in finely) - sum(one.count for one in once)
    cost = (fsum(one.total for one in finely) - fsum(one.total for one in once)) / more
    phases = {
        phase: fsum(one.seconds[phase] for one in once) - cost * sum(one.marks[phase] for one in once)
        for phase in PHASES
    }
    return {
        "total_latency": metric("total_latency", fsum(one.total for one in unmarked)),
        **{f"phase_{phase}": metric(f"phase_{phase}", seconds) for phase, seconds in phases.items()},
        "phase_sum": metric("phase_sum", fsum(phases.values())),
        "hook_cost": metric("hook_cost", cost),
    }


def _typical(generations: Sequence[Sequence[Step]], kind: int) -> list[Division]:
    """Every step of a generation as this kind took it: of those measured at its place the (lower) median by its total,
    so that one interruption spoils no figure and parts stay parts of one step. A step that no generation had of this
    kind is taken to be as its nearest neighbour was.
    """
    length = len(generations[0])
    found: dict[int, list[Division]] = {}
    for steps in generations:
        for t, step in enumerate(steps):
            if step.kind == kind:
                found.setdefault(t, []).append(step.division)
    middle = {t: sorted(these, key=lambda one: one.total)[(len(these) - 1) // 2] for t, these in found.items()}
    return [middle[min(middle, key=lambda other: abs(other - t))] for t in range(length)]


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
