"""Total latency beyond the lengths that were measured, as far as a quadratic can be believed."""

from dataclasses import replace
from itertools import takewhile

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Results
from kvgpt.report.chart import Axis, Callout, Chart, Missing, Panel, Point, Series, Zone
from kvgpt.report.charts.curves import TOTAL, Curves, curves, lengths
from kvgpt.report.charts.insights import as_fast, fits_told
from kvgpt.report.charts.pairs import UNCACHED, ratio, speedups
from kvgpt.report.charts.panels import chart, lengths_axis
from kvgpt.report.charts.phrases import listed
from kvgpt.report.charts.series import fit_lines, fits, lines, sampled
from kvgpt.report.charts.versus import PAIR
from kvgpt.report.fits import Fit

BEYOND = (2, 4)  # times the largest measured T
FEWEST = TOTAL.degree + 2  # lengths that a fit needs
METHOD = (
    "an interval beyond the measured range holds one more measurement with 95% confidence, by Student's quantile of "
    "the residuals, where the total stays a quadratic of T"
)


def all_variants(results: Results) -> Chart:
    return chart("comparison_extrapolation", "Total latency, extrapolated", curves(results, TOTAL).items(), _describe)


def uncached_and_reference(results: Results) -> Chart:
    name, title = "v0_v1_total_latency_projection", "Total latency without a cache and with one, extrapolated"
    return chart(name, title, curves(results, TOTAL, PAIR.__contains__).items(), _describe)


def _describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
    found, largest = fits(several, TOTAL), lengths(several)[-1]
    if not found:
        most = max(map(len, several.values()))
        raise Missing(f"a fit of total latency needs {FEWEST} lengths, and {most} were measured")
    ahead = [factor * largest for factor in BEYOND]
    beyond = {name: _beyond(one, ahead[-1]) for name, one in found.items()}
    values = [point.y for one in (*map(dict.values, several.values()), *beyond.values()) for point in one]
    floor = min(values) / 2
    panel = Panel(
        subject,
        lengths_axis([*lengths(several), *ahead]),
        Axis(TOTAL.label, "log", low=floor),
        (*lines(several, TOTAL.metric), *fit_lines(found), *_projections(beyond), *_bands(beyond, floor)),
        zones=(Zone("x", float(largest), None, "neutral"),),
        callouts=_callouts(several, found, largest),
    )
    told = [*fits_told(found, TOTAL), *_projected_told(found, ahead), *_speedup_told(several, found, ahead[0]), METHOD]
    without = [name for name in several if name not in found]
    return [panel], [*told, f"measured at fewer than {FEWEST} lengths: {listed(without)}"] if without else told


def _beyond(one: Fit, end: float) -> tuple[Point, ...]:
    """The fit from where it was measured to ``end``, or to where it says that time stands still."""
    return tuple(takewhile(lambda point: point.y > 0, sampled(one, one.high, end)))


def _projections(beyond: dict[str, tuple[Point, ...]]) -> tuple[Series, ...]:
    return tuple(
        Series(f"{name}, extrapolated", "projection", points, variant=name, in_legend=False)
        for name, points in beyond.items()
    )


def _bands(beyond: dict[str, tuple[Point, ...]], floor: float) -> tuple[Series, ...]:
    """The prediction intervals, down to the lower end of an axis that has no zero."""
    return tuple(
        Series(
            f"{name}, 95% prediction interval",
            "band",
            tuple(replace(point, low=max(point.low or floor, floor)) for point in points),
            variant=name,
            in_legend=False,
        )
        for name, points in beyond.items()
    )


def _callouts(several: Curves, found: dict[str, Fit], largest: int) -> tuple[Callout, ...]:
    """Which part is which, at the variant that takes longest, and the speedup where it was not measured."""
    ahead = float(BEYOND[0] * largest)
    slowest = max(found, key=lambda name: found[name].at(ahead))
    middle = [*several[slowest].values()][len(several[slowest]) // 2]
    callouts = [Callout("measured", middle.x, middle.y), Callout("extrapolated", ahead, found[slowest].at(ahead))]
    faster = _speedup(found, BEYOND[0] * largest)
    if faster is not None:
        text = f"{as_fast(REFERENCE, replace(faster, low=None, high=None), UNCACHED)}, extrapolated"
        callouts.append(Callout(text, ahead, found[REFERENCE].at(ahead), "good" if faster.y >= 1 else "poor"))
    return tuple(callout for callout in callouts if callout.y > 0)


def _at(one: Fit, length: int) -> Point:
    return Point(float(length), one.at(length), *one.predicted(length), length=length)


def _speedup(found: dict[str, Fit], length: int) -> Point | None:
    """Of the reference over the model without a cache, both by their fits; None where one of them has none there."""
    pair = [_at(found[name], length) for name in (REFERENCE, UNCACHED) if name in found]
    return ratio(*pair) if len(pair) == 2 and all(point.y > 0 for point in pair) else None


def _projected_told(found: dict[str, Fit], ahead: list[int]) -> list[str]:
    told = []
    for name, one in found.items():
        points = [point for length in ahead if (point := _at(one, length)).y > 0]
        each = listed([f"{TOTAL.said(point.y)} at T = {point.length:,} ({_between(point)})" for point in points])
        told.append(f"{name}, extrapolated: {each}" if points else f"{name}: its fit falls below zero where it goes on")
    return told


def _speedup_told(several: Curves, found: dict[str, Fit], ahead: int) -> list[str]:
    later = _speedup(found, ahead)
    if later is None:
        return []
    told = f"by their fits, {as_fast(REFERENCE, later, UNCACHED)}"
    told += "" if later.low is None else ", bounded by the quotients of the bounds of both"
    try:
        measured = speedups(several, REFERENCE, UNCACHED)
    except Missing:
        return [told]
    last = measured[max(measured)]
    word = "more" if later.y > last.y else "less"
    return [f"{told}; {word} than the {last.y:.2f}x as fast that was measured at T = {last.length:,}"]


def _between(point: Point) -> str:
    return f"{TOTAL.said(max(point.low or 0.0, 0.0))} to {TOTAL.said(point.high or 0.0)}"
