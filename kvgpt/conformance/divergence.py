"""Where a variant parts from its own right answer, or from another variant, token by token: rounding, or a bug?

Each side is held to its own right answer: the oracle with its sharing, its window, and what its ``round_trip`` makes of
keys and values. Two sides that keep to answers which are the same can be no further apart than what is allowed to
both together. What is further apart, then, is explained by a loss or a sharing that the two do not have in common, and
what departs from its own right answer is a bug.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kvgpt import registry
from kvgpt.config import sharing_group
from kvgpt.conformance import oracle, tolerances, uncached
from kvgpt.conformance.tolerances import TABLE, Tolerance, Verdict
from kvgpt.engine import Engine
from kvgpt.model import GPT

Kind = Literal["rounding", "explained", "bug"]
ORACLE = "oracle"  # the name of a side that is the right answer itself


@dataclass(frozen=True)
class Side:
    """What was answered at N positions, ``logits`` (N, V), and what was right, ``truth`` (N, V) float64.

    ``errors`` (N,) and ``allowed`` are as ``rule`` measures them; ``rounding`` is the largest error that one logit may
    have. ``declares`` says what makes the right answer another than that of a plain cache.
    """

    name: str
    logits: Tensor
    truth: Tensor
    errors: Tensor
    allowed: float
    rule: Tolerance
    rounding: float
    declares: dict[str, str | None]

    @cached_property
    def wrong(self) -> list[int]:
        """The positions whose error is beyond what is allowed."""
        return (~(self.errors <= self.allowed)).nonzero().flatten().tolist()  # NaN is beyond everything


@dataclass(frozen=True)
class Position:
    """One token fed, and what the two sides answered: the variant's first, the reference's second.

    ``difference`` is the largest between two logits; ``margin`` is how far apart the reference has its two best tokens;
    ``perplexity`` runs from the first prediction to this one.
    """

    place: int
    token: int
    difference: float
    best: tuple[int, int]
    margin: float
    perplexity: tuple[float, float]
    kind: Kind


@dataclass(frozen=True)
class Divergence:
    """A variant beside a reference, position by position."""

    variant: Side
    reference: Side
    positions: tuple[Position, ...]

    @property
    def kind(self) -> Kind:
        """The gravest of the positions."""
        kinds = {position.kind for position in self.positions}
        return "bug" if "bug" in kinds else "explained" if "explained" in kinds else "rounding"

    def first(self, *kinds: Kind) -> Position | None:
        """The first position of one of these kinds."""
        return next((position for position in self.positions if position.kind in kinds), None)

    @property
    def allowed(self) -> float:
        """How far apart the two may be where both are right and the right answers are the same."""
        return self.variant.rounding + self.reference.rounding

    @property
    def declared(self) -> dict[str, tuple[str | None, str | None]]:
        """What the two do not have in common: loss, sharing, alignment or window, the variant's and the reference's."""
        ours, theirs = self.variant.declares, self.reference.declares
        return {what: (ours[what], theirs[what]) for what in ours if ours[what] != theirs[what]}


def compare(model: GPT, variant: str, ids: Tensor, against: str | None = None) -> Divergence:
    """Feed ids (N + 1,) int64, all but the last, one at a time through a variant: a name, or
    ``package.module:Class[+cla2]``. The reference is the variant ``against``, or the variant's own right answer.

    ValueError where nothing could tell rounding from a bug: a lossy cache in a dtype lower than float64, or one without
    a ``round_trip``.
    """
    engines = [(name, _engine(model, name)) for name in (variant, against) if name is not None]
    sides = [_side(name, engine, model, ids[:-1]) for name, engine in engines]
    ours, theirs = sides[0], sides[-1] if against is not None else _right(sides[0])
    differences = (ours.logits.double() - theirs.logits.double()).abs().amax(dim=1)  # (N,)
    best = [side.logits.argmax(dim=1).tolist() for side in (ours, theirs)]
    top = theirs.logits.double().topk(2, dim=1).values  # (N, 2)
    running = [_running_perplexity(side.logits, ids[1:]).tolist() for side in (ours, theirs)]
    allowed, wrong = ours.rounding + theirs.rounding, {*ours.wrong, *theirs.wrong}
    positions = tuple(
        Position(
            place,
            int(ids[place]),
            difference,
            (best[0][place], best[1][place]),
            float(top[place, 0] - top[place, 1]),
            (running[0][place], running[1][place]),
            "bug" if place in wrong else "rounding" if difference <= allowed else "explained",
        )
        for place, difference in enumerate(differences.tolist())
    )
    return Divergence(ours, theirs, positions)


def measured(out: Tensor, plain: Sequence[Tensor], truth: Tensor) -> tuple[Tensor, Verdict, Tolerance, float]:
    """Errors (N,) of logits ``out`` (N, V), the verdict on all of them, its rule, and the largest error allowed.

    In float64 the rule is that of semantics; in others the error ratio to ``plain`` torch's, by the largest error at a
    position, or by the mean error where that alone is beyond what is allowed: then some position's is, too.
    """
    error = (out.double() - truth).abs()  # (N, V)
    if out.dtype == torch.float64:
        verdict = tolerances.exact(out, truth)
        return error.amax(dim=1), verdict, TABLE["semantics"], verdict.allowed
    largest, mean = tolerances.by_ratio(out, plain, truth)
    if largest and not mean:
        return error.mean(dim=1), mean, TABLE["mean error ratio"], largest.allowed
    return error.amax(dim=1), largest, TABLE["error ratio"], largest.allowed


def _engine(model: GPT, name: str) -> Engine:
    if ":" in name:
        cache_class, sharing = registry.plug_in(name)
        engine = Engine(model.share(sharing) if sharing else model, cache_class)
    else:
        engine = Engine(model, name)
    kind, dtype = engine.recipe.cache_class, engine.cache.shape.dtype
    if kind.lossy and not kind.offers("round_trip"):
        raise ValueError(
            f"{name} is lossy and has no round_trip(): unless it says what a vector reads back as, nothing tells its "
            "loss from a bug"
        )
    if kind.lossy and dtype != torch.float64:
        raise ValueError(
            f"{name} is lossy: in {dtype} its codes flip where a number sits on the edge between two, and its logits "
            "prove nothing; compare in float64"
        )
    return engine


def _side(name: str, engine: Engine, plain: GPT, ids: Tensor) -> Side:
    """Ids (N,) through the engine, and the oracle with its sharing, window and loss beside it."""
    cache, config = engine.cache, engine.model.config
    probe = engine.recipe.cache(cache.shape)  # what is asked of round_trip must not touch the cache that is fed

    def read_back(slot: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        k, v = probe.round_trip(slot, k.to(cache.position.device), v.to(cache.position.device))
        return k.cpu(), v.cpu()

    truth = oracle.logits(
        (plain if config.align is None else engine.model).state_dict(),
        ids[None],
        config.n_head,
        sharing_group(config.sharing),
        config.n_kv_head,
        read_back if cache.lossy else None,
        cache.window,
        cache.sinks,
    )[0]
    out = _stepped(name, engine, ids)
    others = []
    if out.dtype != torch.float64:
        others = uncached.logits(engine.model, ids[None].to(cache.position.device), cache.window, cache.sinks)
    errors, verdict, rule, rounding = measured(out, [other[0].cpu() for other in others], truth)
    declares = {
        "loss": type(cache).__qualname__ if cache.lossy else None,
        "sharing": config.sharing,
        "alignment": config.align,
        "window": None if cache.window is None else f"{cache.window}, sinks {cache.sinks}",
    }
    shown = name if ":" in name else engine.recipe.name
    return Side(shown, out, truth, errors, verdict.allowed, rule, rounding, declares)


def _right(side: Side) -> Side:
    """The right answer to a side, as a side that has no error and is allowed none."""
    none = torch.zeros_like(side.errors)
    return Side(ORACLE, side.truth, side.truth, none, 0.0, side.rule, 0.0, side.declares)


def _stepped(name: str, engine: Engine, ids: Tensor) -> Tensor:
    """Logits (N, V) after each of ids (N,): the first prefilled, the others decoded."""
    out = []
    for place, token in enumerate(ids.view(-1, 1, 1)):
        try:
            out.append((engine.decode(token) if place else engine.prefill(token)).cpu())
        except Exception as error:  # the cache may be anybody's: where it failed is told, and how is kept
            raise RuntimeError(f"{name} failed at position {place}: {type(error).__name__}: {error}") from error
    return torch.cat(out)


def _running_perplexity(logits: Tensor, following: Tensor) -> Tensor:
    """Logits (N, V) of what is to be ``following`` (N,) -> the perplexity of the first 1, 2, ... N, float64."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    nll = F.cross_entropy(exact, following, reduction="none").double()
    return (nll.cumsum(dim=0) / torch.arange(1, len(nll) + 1)).exp()
