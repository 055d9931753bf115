"""The charts: one table of every name, and what each is made by. A chart is a function of the results and a line here.

The names are those of the original research's figures. ``{variant}`` stands for each variant that was measured,
``{T}`` for the length that a chart is drawn at: 1024 where it was measured, else the largest.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kvgpt.recorded import Results
from kvgpt.report.chart import Chart, Missing
from kvgpt.report.charts import latency, positions

MEASURE = "pytest benchmarks/bench_{}.py --benchmark-json=OUT.json"


@dataclass(frozen=True)
class Listed:
    """A name, what makes its chart from results (and for ``{variant}`` from a variant), the families that it needs."""

    name: str
    make: Callable[..., Chart]
    needs: tuple[str, ...]


CHARTS = (
    Listed("comparison_per_token_latency", latency.per_token, ("latency",)),
    Listed("positions_streamed", positions.streamed, ("positions",)),
)
ONE_EACH = ("v0", "v1", "v2", "v3", "v4")  # variants that a name with {variant} is asked of, measured or not


def charts(results: Results) -> tuple[list[Chart], list[str]]:
    """Every chart that the results have data for; what each of the others would need comes back as a line."""
    made, missing = list[Chart](), list[str]()
    measured = list(dict.fromkeys(case.variant for case in results.cases))
    for listed in CHARTS:
        each = dict.fromkeys([*ONE_EACH, *measured]) if "{variant}" in listed.name else [None]
        for variant in each:
            name = listed.name if variant is None else listed.name.replace("{variant}", variant)
            try:
                made.append(listed.make(results) if variant is None else listed.make(results, variant))
            except Missing as what:
                commands = " and ".join(MEASURE.format(family) for family in listed.needs)
                missing.append(f"{name}: {what}: {commands}")
    return made, missing
