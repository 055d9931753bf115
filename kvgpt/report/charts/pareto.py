"""Memory against latency at every T, and who is on the frontier where.

Fewer tokens take less of both, whatever the cache, so that only points of one T compete: each T has its frontier.
"""

from collections.abc import Iterator
from dataclasses import replace

from kvgpt.recorded import Results
from kvgpt.report.chart import Chart, Panel, Point, Series
from kvgpt.report.charts.frontier import behind, edge, unbeaten
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import listed
from kvgpt.report.charts.tradeoff import APART, LATENCY, MEMORY, Spots, spots_of


def at_every_length(results: Results) -> Chart:
    """All variants at all T, hollow where one of their T beats them; what the frontier of the largest T beats is
    shaded.
    """
    name, title = "pareto_memory_latency", "Memory against latency at every T"
    return of_each(name, title, spots_of(results).items(), _panels, _memberships, APART)


def _frontiers(spots: Spots) -> dict[int, dict[str, Point]]:
    """{T: the variants that none beats there}."""
    lengths = sorted({length for _, length in spots})
    return {length: unbeaten({name: spot for (name, at), spot in spots.items() if at == length}) for length in lengths}


def _panels(title: str, spots: Spots) -> Iterator[Panel]:
    best = _frontiers(spots)
    longest = max(best)
    edges = {length: edge(members.values()) for length, members in best.items()}
    for length in (min(best), longest):
        edges[length] = (replace(edges[length][0], label=f"T = {length:,}"), *edges[length][1:])
    lines = [
        Series(f"frontier at T = {length:,}", "frontier", line, in_legend=length == longest)
        for length, line in edges.items()
    ]
    right, top = max(spot.x for spot in spots.values()), max(spot.y for spot in spots.values())
    shaded = Series(f"dominated at T = {longest:,}", "region", behind(edges[longest], right, top))
    names = dict.fromkeys(name for name, _ in spots)
    marks = [one for name in names for one in _marks(name, spots, best)]
    yield Panel(title, MEMORY, LATENCY, (shaded, *lines, *marks))


def _marks(name: str, spots: Spots, best: dict[int, dict[str, Point]]) -> Iterator[Series]:
    """A variant's points on the frontiers, and apart from them, hollow, the others."""
    own = {length: spots[name, length] for length in best if (name, length) in spots}
    leading = tuple(spot for length, spot in own.items() if name in best[length])
    beaten = tuple(spot for length, spot in own.items() if name not in best[length])
    if leading:
        yield Series(name, "marks", leading, variant=name, metric="total_latency")
    if beaten:
        yield Series(
            f"{name}, dominated",
            "marks",
            beaten,
            variant=name,
            metric="total_latency",
            faint=True,
            in_legend=not leading,
        )


def _memberships(spots: Spots) -> Iterator[str]:
    best = _frontiers(spots)
    names = dict.fromkeys(name for name, _ in spots)
    each = [f"{name} at {sum(name in members for members in best.values())}" for name in names]
    yield f"on the frontier, of {len(best)} T: {listed(each)}"
