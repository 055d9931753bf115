"""Latency against T: of one token and in total."""

from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Missing, Panel, Point, Series
from kvgpt.report.select import axis, by_variant, subjects

MILLI = 1e-3


def per_token(results: Results) -> Chart:
    """Per-token latency against T, a panel for each batch size."""
    panels = []
    for title, cases in subjects(results.of("latency", "per_token_latency")).items():
        series = [
            Series(
                variant,
                "line",
                tuple(_point(case, "per_token_latency") for case in curve),
                variant=variant,
                metric="per_token_latency",
            )
            for variant, curve in by_variant(cases).items()
        ]
        lengths = tuple(map(float, axis(cases, "new_tokens")))
        x = Axis("new tokens T", "log2", ticks=lengths)
        panels.append(Panel(title, x, Axis("per-token latency (ms)", low=0.0), tuple(series)))
    if not panels:
        raise Missing("no latency was measured")
    return Chart("comparison_per_token_latency", "Per-token latency", tuple(panels))


def _point(case: Case, metric: str) -> Point:
    low, high = case.interval(metric) or (None, None)
    length = case.workload["new_tokens"]
    return Point(
        x=float(length),
        y=case.metrics[metric]["value"] / MILLI,
        low=None if low is None else low / MILLI,
        high=None if high is None else high / MILLI,
        length=length,
        batch_size=case.workload["batch_size"],
        cases=(case,),
    )
