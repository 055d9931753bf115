"""Break-even: from which length, and from which batch size, one variant beats another in time and in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import inf, isfinite

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Missing
from kvgpt.report.crossing import Crossing, Figure, crossing
from kvgpt.report.select import after_one_token, axis, models, pick
from kvgpt.report.tabular import Cell, Column, Table

MOST = 16  # variants of which all pairs are compared; of more, each with the reference


@dataclass(frozen=True)
class Axis:
    """A field of the workload that curves run along, its letter, and the field and letter that is held."""

    field: str
    letter: str
    held: str
    held_letter: str


FIGURES = (
    ("per-token latency", "latency", "per_token_latency"),
    ("peak memory", "memory", "peak_memory"),
)
LENGTH = Axis("new_tokens", "T", "batch_size", "B")
BATCH = Axis("batch_size", "B", "new_tokens", "T")
COLUMNS = (Column("Figure"), Column("Where"), Column("Version"), Column("Against"), Column("Ahead"))
NUMBERS = (Column("Crossing", ".4g"), Column("Low", ".4g"), Column("High", ".4g"))
NOTES = (
    "Ahead is the version with the lower figure. Between measured points the logarithm of the ratio is interpolated "
    "in the logarithm of T or B.",
    "In brackets, the crossings of the ratio's bounds, from the 95% intervals of both figures; they are left out where "
    "a figure has none.",
)


def table(results: Results) -> Table:
    """A row for each pair of variants and each curve that both have; Missing where no two variants can be compared."""
    measured = [(name, after_one_token(results.of(family, metric)), metric) for name, family, metric in FIGURES]
    several = len(models(case for _, cases, _ in measured for case in cases)) > 1
    rows = [
        (name, f"{title}, {where}" if several else where, *cells)
        for name, cases, metric in measured
        for title, of_model in models(case for case in cases if case.valid).items()
        for where, cells in _compared(of_model, metric)
    ]
    if not rows:
        raise Missing("no two variants have a valid latency or peak memory in common")
    notes = NOTES + _left_out([case for _, cases, _ in measured for case in cases])
    return Table("break_even", "Break-even", COLUMNS + NUMBERS, tuple(rows), notes)


def sentence(found: Crossing, letter: str) -> str:
    """Where the first of two is ahead of the second, in words."""
    first, last = found.measured[0], found.measured[-1]
    within = f"{letter} = {first:g}" if first == last else f"{letter} = {first:g}..{last:g}"
    if found.ahead is None:
        return f"equal at {letter} = {last:g}"
    if not found.decided:
        return f"undecided within {within}: the intervals allow either"
    if not found.at:
        said = f"always within {within}" if found.ahead == "first" else f"never within {within}"
        return said if not found.high else f"{said}, beyond doubt from {letter} ≈ {found.high:.4g}"
    said = f"{'from' if found.ahead == 'first' else 'until'} {letter} ≈ {found.at:.4g}"
    if found.low is not None and found.high is not None:
        low = f"{found.low:.4g}" if found.low else f"below {first:g}"
        high = f"{found.high:.4g}" if isfinite(found.high) else f"beyond {last:g}"
        said += f" ({low} to {high})"
    return said if found.turns == 1 else f"{said}, the last of {found.turns} crossings"


def _compared(cases: list[Case], metric: str) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """(where, the other cells of a row) of every pair along every axis."""
    for along in (LENGTH, BATCH) if len(axis(cases, BATCH.field)) > 1 else (LENGTH,):
        for held in axis(cases, along.held):
            curves = _curves(pick(cases, **{along.held: held}), along.field, metric)
            for earlier, later in _pairs(list(curves)):
                found = crossing(curves[later], curves[earlier])
                if found is not None:
                    cells = (later, earlier, sentence(found, along.letter), *_numbers(found))
                    yield f"{along.held_letter} = {held}", cells


def _curves(cases: list[Case], field: str, metric: str) -> dict[str, list[Figure]]:
    """{variant: its figures}, each variant's first at every x."""
    curves: dict[str, dict[float, Figure]] = {}
    for case in cases:
        value, x = case.value(metric), case.workload[field]
        if value is not None:
            curves.setdefault(case.variant, {}).setdefault(x, Figure(x, value, case.interval(metric)))
    return {variant: list(figures.values()) for variant, figures in curves.items()}


def _pairs(variants: list[str]) -> Iterable[tuple[str, str]]:
    if len(variants) <= MOST:
        return combinations(variants, 2)
    return ((REFERENCE, other) for other in variants if REFERENCE in variants and other != REFERENCE)


def _numbers(found: Crossing) -> Iterator[float | None]:
    """The crossing and its ends, None for what is undecided, or before or beyond everything measured."""
    for x in (found.at, found.low, found.high):
        yield x if found.decided and x and x != inf else None


def _left_out(cases: list[Case]) -> tuple[str, ...]:
    unfit = sum(not case.valid for case in cases)
    return (f"Left out, since not valid: {unfit} of {len(cases)} cases.",) if unfit else ()
