"""How much worse than the reference's each perplexity is, and what aligning followers changes in that."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kvgpt import record
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Callout, Chart, Panel, Point, Rule, Series, Tone, Zone
from kvgpt.report.charts.measured import LARGEST, PERCENT, bars, one_each, overlap, point, value_of
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import listed, percent
from kvgpt.report.charts.relatives import relative
from kvgpt.report.charts.scored import groups

METRIC = "perplexity_change"
GOOD, FAIR, POOR = 1.0, 10.0, 100.0  # percent
RULES: tuple[tuple[float, Tone, str], ...] = (
    (GOOD, "good", "acceptable"),
    (FAIR, "fair", "marginal"),
    (POOR, "poor", "unusable"),
)
NOTHING = Point(0.0, 0.0, 0.0, 0.0)  # no change, for certain
LEAST = -0.1  # percent that the axis shows at least
ROOM = 2.0  # times the largest change, and the smallest: how far it reaches beyond these
ABOVE = 0.3  # of the decades up to the largest change: as many more are for the callouts


def compared(results: Results) -> Chart:
    """A bar for each variant with its paired interval, the thresholds of quality, and what alignment buys."""
    scored = [case for case in results.cases if case.family == "perplexity"]
    known = [(title, several) for title, cases in groups(scored) if (several := _with_changes(cases))]
    name, title = "comparison_perplexity_degradation", f"Change of perplexity against {REFERENCE}"
    otherwise = f"no perplexity was measured beside that of {REFERENCE}"
    return of_each(name, title, known, _panels, _verdicts, otherwise)


def _with_changes(cases: list[Case]) -> dict[str, Case]:
    """{variant: its case with its change}: what the record says, paired token by token; else what the perplexities say,
    of which nobody knows the interval.
    """
    each = one_each(cases)
    usual = each[REFERENCE].value("perplexity") if REFERENCE in each else None
    completed = {name: _completed(case, usual) for name, case in each.items()}
    return {name: case for name, case in completed.items() if _is_known(case.value(METRIC))}


def _is_known(change: float | None) -> bool:
    return change is not None and abs(change) < LARGEST


def _completed(case: Case, usual: float | None) -> Case:
    own = case.value("perplexity")
    if METRIC in case.metrics or own is None or not usual:
        return case
    return replace(case, metrics={**case.metrics, METRIC: record.metric(METRIC, own / usual - 1)})


def _bars(each: Mapping[str, Case]) -> tuple[Axis, tuple[Series, ...]]:
    return bars(each, METRIC, lambda case, x: point(case, METRIC, PERCENT, x, percent(value_of(case, METRIC))))


def _panels(title: str, each: dict[str, Case]) -> Iterator[Panel]:
    x, series = _bars(each)
    points = [bar.points[0] for bar in series]
    lowest = min(one.y if one.low is None else one.low for one in points)
    highest = max(one.y if one.high is None else one.high for one in points)
    label = f"change of perplexity against {REFERENCE} (%)"
    callouts = tuple(_alignment(*pair) for pair in _alignments(each).values() if not overlap(*pair))
    y = Axis(label, "symlog", low=min(LEAST, ROOM * lowest), high=_top(highest, bool(callouts)))
    zones = (Zone("y", 0.0, GOOD, "good"), Zone("y", GOOD, FAIR, "fair"), Zone("y", FAIR, None, "poor"))
    rules = (Rule("y", 0.0, label=REFERENCE), *(Rule("y", at, tone, f"{at:g}%: {name}") for at, tone, name in RULES))
    yield Panel(title, x, y, series, zones, rules, callouts)


def _top(highest: float, called_out: bool) -> float:
    """Above the largest change and the last threshold, with room for callouts where there are any."""
    largest = max(highest, POOR)
    return ROOM * largest * ((largest / -LEAST) ** ABOVE if called_out else 1.0)


def _alignments(each: Mapping[str, Case]) -> dict[str, tuple[Point, Point]]:
    """{aligned variant: the change of the same one without alignment, and its own}."""
    changes = {bar.name: bar.points[0] for bar in _bars(each)[1]}
    pairs = {name: other for name in each if (other := relative(each, name, align=None)) is not None}
    return {name: (changes[other], changes[name]) for name, other in pairs.items()}


def _alignment(before: Point, after: Point) -> Callout:
    tone: Tone = "good" if after.y < before.y else "poor"
    return Callout(f"alignment: {_times(before.y, after.y) or f'from {before.label}'}", after.x, after.y, tone)


def _times(before: float, after: float) -> str:
    """How many times less or more, where both are more than nothing."""
    if min(before, after) <= 0:
        return ""
    return f"{before / after:.3g} times less" if after < before else f"{after / before:.3g} times as much"


def _verdicts(each: dict[str, Case]) -> Iterator[str]:
    changes = {bar.name: bar.points[0] for bar in _bars(each)[1] if bar.name != REFERENCE}
    sorts = {
        f"no more than {GOOD:g}% worse": [name for name, one in changes.items() if one.y <= GOOD],
        f"up to {FAIR:g}%": [name for name, one in changes.items() if GOOD < one.y <= FAIR],
        f"more than {FAIR:g}%": [name for name, one in changes.items() if one.y > FAIR],
    }
    if changes:
        yield "; ".join(f"{sort}: {listed(names)}" for sort, names in sorts.items() if names)
    alike = [name for name, one in changes.items() if overlap(one, NOTHING)]
    if alike:
        yield f"not told from {REFERENCE} by the interval of the change: {listed(alike)}"
    for name, (before, after) in _alignments(each).items():
        said = [_times(before.y, after.y), "within the intervals" if overlap(before, after) else ""]
        yield ", ".join(filter(None, (f"{name}: alignment changes {before.label} to {after.label}", *said)))
