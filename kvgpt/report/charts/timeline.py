"""One decode step of each variant from its begin to its end: what ran when, by kind, and where nothing did."""

from collections.abc import Iterable, Iterator, Sequence

from kvgpt.plain import quantity
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Panel, Point, Series
from kvgpt.report.charts.measured import one_each
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import listed
from kvgpt.report.kinds import KINDS, kind
from kvgpt.report.profiles import Profile, profile_of, profiled

WITHOUT = "no decode step was profiled"
FINEST = 0.001  # of what is drawn: spans and gaps that are shorter than this are drawn as one with their neighbours
HALVES = dict(zip(KINDS, (0.36, 0.29, 0.13, 0.06, 0.21), strict=True))  # of a row's height: told apart without colour
Span = tuple[str, float, float]  # kind, begin and end, as shares of the step


def timeline(results: Results) -> Chart:
    """Whole steps, and a layer from the middle of each, both as shares of the step."""
    return of_each(
        "timeline", "Where a decode step's time goes", profiled(results).items(), _panels, _insights, WITHOUT
    )


def _panels(title: str, cases: Sequence[Case]) -> Iterator[Panel]:
    rows = one_each(cases)
    layers = max(int(case.workload.get("n_layer", 1)) for case in rows.values())
    middle = 0.5 - 0.5 / layers, 0.5 + 0.5 / layers
    for name, (low, high) in ((title, (0.0, 1.0)), ("the middle of the same, as long as a layer", middle)):
        x = Axis("share of the step (%)", low=100 * low, high=100 * high)
        names = tuple(f"{variant}, {quantity(profile_of(case).seconds, 's', 3)}" for variant, case in rows.items())
        drawn = [*_drawn(list(rows.values()), low, high)]
        yield Panel(name, x, Axis("", "names", names=names[::-1]), tuple(drawn))


def _drawn(cases: Sequence[Case], low: float, high: float) -> Iterator[Series]:
    legend = set[str]()
    for row, case in enumerate(reversed(cases)):
        spans = [*_joined(_within(_spans(profile_of(case)), low, high), FINEST * (high - low))]
        for one in KINDS:
            corners = [corner for name, *ends in spans if name == one for corner in _corners(row, HALVES[one], *ends)]
            if corners:
                first = Point(*corners[0], cases=(case,))  # one is enough for a reader who leaves this variant out
                points = (first, *(Point(*corner) for corner in corners[1:]))
                yield Series(one, "spans", points, phase=one, in_legend=one not in legend)
                legend.add(one)


def _spans(profile: Profile) -> Iterator[Span]:
    whole = 1e9 * profile.seconds
    for name, start, duration in profile.spans:
        yield kind(name), start / whole, (start + duration) / whole


def _within(spans: Iterable[Span], low: float, high: float) -> Iterator[Span]:
    for name, start, end in spans:
        if start < high and end > low:
            yield name, max(start, low), min(end, high)


def _joined(spans: Iterable[Span], finest: float) -> Iterator[Span]:
    """Neighbours of one kind as one span where what parts them is too short to be seen."""
    held: Span | None = None
    for name, start, end in spans:
        if held and held[0] == name and start - held[2] < finest:
            held = name, held[1], end
        else:
            if held:
                yield held
            held = name, start, end
    if held:
        yield held


def _corners(row: int, half: float, start: float, end: float) -> list[tuple[float, float]]:
    """Of a rectangle on the foot of a row: one after the other these make one polygon, along the foot."""
    left, right, foot, top = round(100 * start, 3), round(100 * end, 3), row - half, row + half
    return [(left, foot), (left, top), (right, top), (right, foot)]


def _insights(cases: Sequence[Case]) -> Iterator[str]:
    rows = one_each(cases)
    on_gpu = any(case.workload.get("device") == "cuda" for case in rows.values())
    what = "kernels" if on_gpu else "operators"
    counts = [f"{name} {case.value('kernels_per_token'):,.0f}" for name, case in rows.items()]
    yield f"{what} a token: {listed(counts)}"
    empty = [f"{name} {100 * profile_of(case).share_of_gaps:.0f}%" for name, case in rows.items()]
    yield f"white, where {'the GPU' if on_gpu else 'torch'} was asked for nothing: {listed(empty)}"
    yield "the taller the more there is to compute: attention, products, elementwise, copies, views"
    yield "profiled, which slows a step down: shares count here, not seconds"
