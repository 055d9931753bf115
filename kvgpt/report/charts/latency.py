"""Latency against T, of one token and in total: with fits, with intervals, and of what keeps a cache."""

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Results
from kvgpt.report.chart import Chart, Panel
from kvgpt.report.charts.along import banded, fitted, panel
from kvgpt.report.charts.curves import PER_TOKEN, TOTAL, Curves, curves
from kvgpt.report.charts.insights import against, ranked
from kvgpt.report.charts.panels import chart
from kvgpt.report.select import keeps_a_cache


def per_token(results: Results) -> Chart:
    """With a straight line through each variant: its slope is what each token held adds to a step."""
    return fitted("comparison_per_token_latency", "Per-token latency", results, PER_TOKEN)


def per_token_intervals(results: Results) -> Chart:
    return banded("comparison_per_token_latency_ci", "Per-token latency, with 95% intervals", results, PER_TOKEN)


def total(results: Results) -> Chart:
    """With a quadratic through each variant, the sum of steps that each grow by as much."""
    return fitted("comparison_total_latency", "Total latency", results, TOTAL)


def total_intervals(results: Results) -> Chart:
    return banded("comparison_total_latency_ci", "Total latency, with 95% intervals", results, TOTAL)


def cached(results: Results) -> Chart:
    """Without the variant that keeps nothing, which dwarfs the differences of the others."""

    def describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
        return [panel(subject, several, TOTAL)], [*ranked(several, TOTAL), *against(several, REFERENCE)]

    name, title = "comparison_kv_variants_latency", "Total latency of variants that keep a cache"
    return chart(name, title, curves(results, TOTAL, keeps_a_cache).items(), describe)
