"""The charts of time over synthetic results: their axes and variants, what they show, and results with other times."""

from dataclasses import replace
from functools import cache

import synthetic

from kvgpt.report.charts import charts

ALL = tuple(synthetic.CURVES)
CACHED, OTHERS = ALL[1:], tuple(name for name in ALL if name != "v1")
LAST = synthetic.LENGTHS[-1]
T, TOTAL, PER_TOKEN, RATE = "new tokens T", "total latency (ms)", "per-token latency (ms)", "throughput (tokens/s)"
AXES = {  # name: (label and scale of x, label and scale of y, whose lines or bars)
    "comparison_per_token_latency": (T, "log2", PER_TOKEN, "linear", ALL),
    "comparison_per_token_latency_ci": (T, "log2", PER_TOKEN, "linear", ALL),
    "comparison_total_latency": (T, "log2", TOTAL, "linear", ALL),
    "comparison_total_latency_ci": (T, "log2", TOTAL, "linear", ALL),
    "comparison_v0_vs_v1_latency": (T, "linear", TOTAL, "linear", ("v0", "v1")),
    "v0_v1_total_latency_projection": (T, "log2", TOTAL, "log", ("v0", "v1")),
    "comparison_throughput": (T, "log2", RATE, "linear", ALL),
    "comparison_throughput_ci": (T, "log2", RATE, "linear", ALL),
    "comparison_speedup": (T, "log2", "speedup over v0", "linear", CACHED),
    "comparison_speedup_vs_v1": (T, "log2", "speedup over v1", "linear", OTHERS),
    "comparison_kv_variants_latency": (T, "log2", TOTAL, "linear", CACHED),
    "kv_variants_per_token_bar_T1024": ("variant", "names", PER_TOKEN, "linear", CACHED),
    "kv_variants_throughput_bar_T1024": ("variant", "names", RATE, "linear", CACHED),
    "comparison_extrapolation": (T, "log2", TOTAL, "log", ALL),
    **{f"latency_total_vs_T_{name}": (T, "log2", TOTAL, "linear", (name,)) for name in ALL},
    **{f"latency_per_token_vs_T_{name}": (T, "log2", PER_TOKEN, "linear", (name,)) for name in ALL},
}


def total(variant, length):
    return 1e3 * synthetic.total(variant, length)


VALUES = {  # y axis: what a variant has at a T
    TOTAL: total,
    PER_TOKEN: lambda variant, length: total(variant, length) / length,
    RATE: lambda variant, length: 1e3 * length / total(variant, length),
    "speedup over v0": lambda variant, length: total("v0", length) / total(variant, length),
    "speedup over v1": lambda variant, length: total("v1", length) / total(variant, length),
}


@cache
def drawn():
    made, _ = charts(synthetic.results())
    return {chart.name: chart for chart in made}


def panel_of(name):
    (panel,) = drawn()[name].panels
    return panel


def of_form(panel, form):
    return {series.variant: series for series in panel.series if series.form == form}


def said(chart, *parts):
    """The only insight that has all these parts."""
    (found,) = [sentence for sentence in chart.insights if all(part in sentence for part in parts)]
    return found


def changed(results, change):
    """Results with each latency case replaced by what ``change`` makes of it, or without it where that is None."""
    cases = [change(case) if case.family == "latency" else case for case in results.cases]
    return replace(results, cases=tuple(case for case in cases if case is not None))


def figures(case, **values):
    """A case with other figures: a value, or a pair of it and its interval, which is None where there is none."""
    metrics = {name: dict(figure) for name, figure in case.metrics.items()}
    for name, told in values.items():
        metrics[name]["value"], interval = told if isinstance(told, tuple) else (told, metrics[name].get("interval"))
        metrics[name].pop("interval", None)
        metrics[name] |= {} if interval is None else {"interval": interval}
    return replace(case, metrics=metrics)


def only(*variants, **options):
    return synthetic.results(variants=variants, **options)
