"""What no worker has measured: cases that one was to measure, and holes in the grid of a benchmark."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kvgpt.report.merging.worker import Entry, Worker

MOST = 20_000  # variants times places of one benchmark: no grid is that large


@dataclass(frozen=True)
class Place:
    """A case's full name around that of its variant."""

    before: str
    after: str

    def of(self, variant: str) -> str:
        return f"{self.before}{variant}{self.after}"


@dataclass
class Grid:
    """The variants of one benchmark, and the places at which any of them was measured, in order."""

    variants: dict[str, None] = field(default_factory=dict)
    places: dict[Place, None] = field(default_factory=dict)

    def cells(self) -> Iterator[tuple[Place, str]]:
        return ((place, variant) for place in self.places for variant in self.variants)


def missing(workers: Sequence[Worker], entries: Sequence[Entry]) -> list[str]:
    """A line for each case that no entry is of, though a worker was to measure it or other variants have its like."""
    measured = {entry["fullname"] for entry in entries}
    awaited = {name: worker.path for worker in reversed(workers) for name in worker.asked}
    unmet = [f"{name!r}: {path} was to measure it" for name, path in sorted(awaited.items()) if name not in measured]
    return [*unmet, *(line for found in _grids(entries).items() for line in _holes(*found, workers, measured))]


def _grids(entries: Iterable[Entry]) -> dict[str, Grid]:
    """By a benchmark's full name."""
    grids: dict[str, Grid] = {}
    for entry in entries:
        place = _place(entry)
        if place is not None:
            grid = grids.setdefault(entry["fullname"].partition("[")[0], Grid())
            grid.places[place] = grid.variants[entry["params"]["variant"]] = None
    return grids


def _place(entry: Entry) -> Place | None:
    """None where a name does not say, or not unmistakably, which part of it is the variant's."""
    params, name = entry.get("params"), entry["fullname"]
    variant = params.get("variant") if isinstance(params, dict) else None
    if not isinstance(variant, str):
        return None
    found = list(re.finditer(rf"(?<=[\[-]){re.escape(variant)}(?=[\]-])", name))
    return Place(name[: found[0].start()], name[found[0].end() :]) if len(found) == 1 else None


def _holes(benchmark: str, grid: Grid, workers: Sequence[Worker], measured: set[str]) -> Iterator[str]:
    """A line for each empty cell of the grid that no file accounts for.

    A worker that had the variant and the place says of their cell what there is to say, or measured a benchmark in
    which they do not meet.
    """
    if len(grid.variants) * len(grid.places) > MOST:
        yield f"{benchmark!r}: {len(grid.variants)} variants at {len(grid.places)} places: not searched for holes"
        return
    spans = [_span(grid, worker.asked.union(*worker.left_out.values())) for worker in workers]
    for place, variant in grid.cells():
        name = place.of(variant)
        accounted = any(variant in variants and place in places for variants, places in spans)
        if name not in measured and not accounted:
            yield f"{name!r}: no worker was to measure it, and other variants have it"


def _span(grid: Grid, names: frozenset[str]) -> tuple[set[str], set[Place]]:
    """The variants and the places that these names have at least one case of."""
    cells = [(place, variant) for place, variant in grid.cells() if place.of(variant) in names]
    return {variant for _, variant in cells}, {place for place, _ in cells}
