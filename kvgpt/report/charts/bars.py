"""Variants that keep a cache side by side, at one length."""

from dataclasses import replace

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Results
from kvgpt.report.chart import Axis, Chart, Missing, Panel, Point, Rule, Series
from kvgpt.report.charts.curves import PER_TOKEN, THROUGHPUT, Curves, Quantity, lengths, measured
from kvgpt.report.charts.insights import differences, ranked
from kvgpt.report.charts.panels import chart
from kvgpt.report.charts.phrases import listed, percent
from kvgpt.report.select import keeps_a_cache

USUAL = 1024  # the length of the original's bars


def per_token(results: Results) -> Chart:
    return _bars("kv_variants_per_token_bar", "Per-token latency", results, PER_TOKEN)


def throughput(results: Results) -> Chart:
    return _bars("kv_variants_throughput_bar", "Throughput", results, THROUGHPUT)


def _bars(name: str, title: str, results: Results, of: Quantity) -> Chart:
    subjects = measured(results, of, keeps_a_cache)
    found = sorted({length for several in subjects.values() for length in lengths(several)})
    length = USUAL if USUAL in found else found[-1]

    def describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
        there = {variant: {length: curve[length]} for variant, curve in several.items() if length in curve}
        if not there:
            raise Missing(f"nothing was measured at T = {length:,}")
        told, absent = [*ranked(there, of), *differences(there, of)], [name for name in several if name not in there]
        if absent:
            told.append(f"not measured at T = {length:,}: {listed(absent)}")
        points = {name: curve[length] for name, curve in there.items()}
        return [_panel(f"{subject}, T = {length:,}", points, of)], told

    return chart(
        f"{name}_T{length}", f"{title} of variants that keep a cache, at T = {length:,}", subjects.items(), describe
    )


def _panel(title: str, points: dict[str, Point], of: Quantity) -> Panel:
    """A bar each, labelled with how far it is above or below the reference, which has a line across."""
    reference = points.get(REFERENCE)
    series = tuple(
        Series(
            name, "bars", (_bar(place, name, point, reference, of),), variant=name, metric=of.metric, in_legend=False
        )
        for place, (name, point) in enumerate(points.items())
    )
    rules = () if reference is None else (Rule("y", reference.y, label=REFERENCE),)
    x, y = Axis("variant", "names", names=tuple(points)), Axis(of.label, low=0.0)
    return Panel(title, x, y, series, rules=rules)


def _bar(place: int, name: str, point: Point, reference: Point | None, of: Quantity) -> Point:
    label = of.said(point.y) if reference is None or name == REFERENCE else percent(point.y / reference.y - 1)
    return replace(point, x=float(place), label=label)
