"""Memory against latency at one T: what each variant pays of one for the other."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import median

from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Corner, Missing, Panel, Point, Rule, Series
from kvgpt.report.charts.frontier import beats, edge, unbeaten
from kvgpt.report.charts.measured import (
    MEGA,
    MILLI,
    by_length,
    length_of,
    overlap,
    point,
    positive,
    value_of,
    with_length,
)
from kvgpt.report.charts.one_length import length_to_draw
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import listed
from kvgpt.report.select import subjects

USUAL = 1024  # T
MEMORY, LATENCY = Axis("peak memory (MB)"), Axis("total latency (ms)")
QUADRANTS = (  # of a panel that is cut at the medians
    Corner("ideal: fast and small", 0.02, 0.02),
    Corner("speed first", 0.98, 0.02),
    Corner("memory first", 0.02, 0.98),
    Corner("avoid", 0.98, 0.98),
)
APART = "no variant has both its latency and its peak memory measured at one T"

Spots = dict[tuple[str, int], Point]  # by variant and T


def at_one_length(results: Results) -> Chart:
    """Each variant at one T, the quadrants about the medians, and the frontier of those that none beats."""
    found = spots_of(results)
    length = length_to_draw([length for spots in found.values() for _, length in spots], USUAL)
    there = [
        (f"{title}, T = {length:,}", {name: spot for (name, at), spot in spots.items() if at == length})
        for title, spots in found.items()
    ]
    name, title = f"tradeoff_memory_latency_T{length}", f"Memory against latency, T = {length:,}"
    return of_each(name, title, there, _panels, _dominance, APART)


def spots_of(results: Results) -> dict[str, Spots]:
    """{subject: peak memory in MB against total latency in ms}; Missing where no variant has both at one T."""
    peaks = subjects(with_length(positive(results, "memory", "peak_memory")))
    found = {
        title: _spots(_by_variant_and_length(times), _by_variant_and_length(peaks[title]))
        for title, times in subjects(with_length(positive(results, "latency", "total_latency"))).items()
        if title in peaks
    }
    found = {title: spots for title, spots in found.items() if spots}
    if not found:
        raise Missing(APART)
    return found


def _by_variant_and_length(cases: list[Case]) -> dict[tuple[str, int], Case]:
    return {(name, length_of(case)): case for name, curve in by_length(cases).items() for case in curve}


def _spots(times: Mapping[tuple[str, int], Case], peaks: Mapping[tuple[str, int], Case]) -> Spots:
    return {
        which: replace(
            point(case, "total_latency", MILLI, value_of(peaks[which], "peak_memory") / MEGA),
            cases=(case, peaks[which]),
        )
        for which, case in times.items()
        if which in peaks
    }


def _panels(title: str, spots: dict[str, Point]) -> Iterator[Panel]:
    if not spots:
        return
    series = [
        Series(name, "marks", (replace(spot, label=name),), variant=name, metric="total_latency")
        for name, spot in spots.items()
    ]
    series.append(Series("frontier", "frontier", edge(unbeaten(spots).values())))
    if len(spots) == 1:
        yield Panel(title, MEMORY, LATENCY, tuple(series))
        return
    x, y = median(spot.x for spot in spots.values()), median(spot.y for spot in spots.values())
    rules = (Rule("x", x, label="median"), Rule("y", y, label="median"))
    yield Panel(title, MEMORY, LATENCY, tuple(series), rules=rules, corners=QUADRANTS)


def _dominance(spots: dict[str, Point]) -> Iterator[str]:
    """Who is on the frontier, and by whom each of the others is beaten."""
    yield f"on the frontier: {listed([*unbeaten(spots)])}"
    beaten = {name: [other for other in spots if beats(spots[other], spots[name])] for name in spots}
    if any(beaten.values()):
        each = [f"{name} by {listed(by)}" for name, by in beaten.items() if by]
        yield f"dominated, taking no less of either: {'; '.join(each)}"
    close = [name for name, by in beaten.items() if by and all(overlap(spots[name], spots[other]) for other in by)]
    if close:
        yield f"dominated by times whose intervals overlap: {listed(close)}"
