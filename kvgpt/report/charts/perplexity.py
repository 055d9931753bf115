"""Perplexity of each variant, and how many times the reference's it is."""

from collections.abc import Iterator, Mapping

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Panel, Point, Rule, Zone
from kvgpt.report.charts.measured import bars, one_each, point, positive, value_of
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import listed
from kvgpt.report.charts.scored import groups

METRIC = "perplexity"
GOOD, FAIR = 30 / 21.72, 100 / 21.72  # times the reference's, where the original drew 30 and 100 and had 21.72
ROOM = 2.0  # times the largest bar, and the smallest over it: how far the axis reaches


def compared(results: Results) -> Chart:
    """A bar for each variant, in zones that end at multiples of the reference's perplexity."""
    scored = groups(positive(results, "perplexity", METRIC))
    return of_each("comparison_perplexity", "Perplexity", scored, _panels, _multiplied, "no perplexity was measured")


def _panels(title: str, cases: list[Case]) -> Iterator[Panel]:
    each = one_each(cases)
    values = [value_of(case, METRIC) for case in each.values()]
    y = Axis("perplexity", "log", low=min(values) / ROOM, high=max(values) * ROOM)

    def place(case: Case, x: float) -> Point:
        return point(case, METRIC, 1.0, x, f"{value_of(case, METRIC):,.2f}")

    x, series = bars(each, METRIC, place)
    if REFERENCE not in each:
        yield Panel(title, x, y, series)
        return
    usual = value_of(each[REFERENCE], METRIC)
    rule = Rule("y", usual, label=f"{REFERENCE}: {usual:,.2f}")
    yield Panel(title, x, y, series, _zones(usual, max(values) * ROOM), (rule,))


def _zones(usual: float, top: float) -> tuple[Zone, ...]:
    """As many as begin below the top of the axis."""
    good, fair = GOOD * usual, FAIR * usual
    every = (
        Zone("y", None, good, "good", f"up to {GOOD:.2f}x {REFERENCE}"),
        Zone("y", good, fair, "fair", f"up to {FAIR:.2f}x"),
        Zone("y", fair, None, "poor", f"above {FAIR:.2f}x"),
    )
    return tuple(zone for zone in every if zone.low is None or zone.low < top)


def _multiplied(cases: list[Case]) -> Iterator[str]:
    each = one_each(cases)
    if REFERENCE not in each:
        return
    multiples = {
        name: value_of(case, METRIC) / value_of(each[REFERENCE], METRIC)
        for name, case in each.items()
        if name != REFERENCE
    }
    if multiples:
        each_times = listed([f"{name} {times:.3g}" for name, times in multiples.items()])
        yield f"times the perplexity of {REFERENCE}: {each_times}"
    zones: Mapping[str, list[str]] = {
        f"up to {GOOD:.2f} times": [name for name, times in multiples.items() if times <= GOOD],
        f"up to {FAIR:.2f} times": [name for name, times in multiples.items() if GOOD < times <= FAIR],
        f"above {FAIR:.2f} times": [name for name, times in multiples.items() if times > FAIR],
    }
    told = [f"{zone}: {listed(names)}" for zone, names in zones.items() if names]
    if told:
        yield "; ".join(told)
