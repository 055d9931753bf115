"""Figures against T: a row for each T, a column for each variant."""

from kvgpt.recorded import Case, Results
from kvgpt.report.consistency.finding import size
from kvgpt.report.select import after_one_token, axis, by_variant, subjects
from kvgpt.report.tables.validity import unfit
from kvgpt.report.tabular import Column, Table

MILLI, MEGA = 1e-3, 1e6


def latency(results: Results) -> list[Table]:
    """The whole generation's time and one token's."""
    total = _tables(results, "latency", "total_latency", "latency_total", "Total latency (ms)", MILLI, ".1f")
    return total + _tables(
        results, "latency", "per_token_latency", "latency_per_token", "Per-token latency (ms)", MILLI, ".3f"
    )


def memory(results: Results) -> list[Table]:
    """The peak, and what the cache holds of it."""
    peak = _tables(results, "memory", "peak_memory", "memory_peak", "Peak memory (MB)", MEGA, ".2f")
    return peak + _tables(results, "memory", "cache_bytes", "memory_cache", "Cache (MB)", MEGA, ".3f")


def _tables(
    results: Results, family: str, metric: str, name: str, quantity: str, unit: float, form: str
) -> list[Table]:
    cases = after_one_token(results.of(family, metric))
    return [
        _table(name, f"{quantity}: {title}", of_subject, metric, unit, form)
        for title, of_subject in subjects(cases).items()
    ]


def _table(name: str, title: str, cases: list[Case], metric: str, unit: float, form: str) -> Table:
    curves = [_by_length(curve, metric, unit) for curve in by_variant(cases).values()]
    rows = tuple((length, *(curve.get(length) for curve in curves)) for length in axis(cases, "new_tokens"))
    columns = (Column("T", "d"), *(Column(variant, form) for variant in by_variant(cases)))
    return Table(name, title, columns, rows, unfit(cases), size(cases[0], "batch_size"))


def _by_length(curve: list[Case], metric: str, unit: float) -> dict[int, float]:
    """{T: a variant's first figure there}."""
    figures: dict[int, float] = {}
    for case in curve:
        figures.setdefault(case.workload["new_tokens"], case.metrics[metric]["value"] / unit)
    return figures
