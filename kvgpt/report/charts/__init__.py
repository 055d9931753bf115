"""The charts: one table of every name, and what each is made by. A chart is a function of the results and a line here.

The names are those of the original research's figures. ``{variant}`` stands for each variant that was measured,
``{T}`` for the length that a chart is drawn at: 1024 where it was measured, else the largest.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kvgpt.recorded import Results
from kvgpt.report.chart import Chart, Missing
from kvgpt.report.charts import (
    bars,
    by_position,
    capacity,
    degradation,
    latency,
    memory,
    pareto,
    perplexity,
    phases,
    pies,
    positions,
    projection,
    saving,
    sharing,
    single,
    speedup,
    throughput,
    tradeoff,
    versus,
)

MEASURE = "pytest benchmarks/bench_{}.py --benchmark-json=OUT.json"


@dataclass(frozen=True)
class Listed:
    """A name, what makes its chart from results (and for ``{variant}`` from a variant), the families that it needs."""

    name: str
    make: Callable[..., Chart]
    needs: tuple[str, ...]


CHARTS = (
    Listed("comparison_per_token_latency", latency.per_token, ("latency",)),
    Listed("comparison_per_token_latency_ci", latency.per_token_intervals, ("latency",)),
    Listed("comparison_total_latency", latency.total, ("latency",)),
    Listed("comparison_total_latency_ci", latency.total_intervals, ("latency",)),
    Listed("comparison_v0_vs_v1_latency", versus.uncached_and_reference, ("latency",)),
    Listed("v0_v1_total_latency_projection", projection.uncached_and_reference, ("latency",)),
    Listed("comparison_throughput", throughput.throughput, ("latency",)),
    Listed("comparison_throughput_ci", throughput.throughput_intervals, ("latency",)),
    Listed("comparison_speedup", speedup.over_uncached, ("latency",)),
    Listed("comparison_speedup_vs_v1", speedup.over_reference, ("latency",)),
    Listed("comparison_kv_variants_latency", latency.cached, ("latency",)),
    Listed("kv_variants_per_token_bar_T{T}", bars.per_token, ("latency",)),
    Listed("kv_variants_throughput_bar_T{T}", bars.throughput, ("latency",)),
    Listed("comparison_extrapolation", projection.all_variants, ("latency",)),
    Listed("latency_total_vs_T_{variant}", single.total, ("latency",)),
    Listed("latency_per_token_vs_T_{variant}", single.per_token, ("latency",)),
    Listed("KEY_comparison_vram", memory.key, ("memory",)),
    Listed("comparison_vram", memory.compared, ("memory",)),
    Listed("vram_growth_v0_v1", memory.growth, ("memory",)),
    Listed("vram_bar_chart", saving.every_variant, ("memory",)),
    Listed("comparison_memory_efficiency", memory.efficiency, ("memory",)),
    Listed("kv_variants_vram_bar_T{T}", saving.cached_variants, ("memory",)),
    Listed("vram_vs_T_{variant}", memory.single, ("memory",)),
    Listed("per_phase_breakdown_bar", phases.side_by_side, ("phases",)),
    Listed("per_phase_breakdown_stacked", phases.stacked, ("phases",)),
    Listed("per_phase_breakdown_with_insights", phases.with_insights, ("phases",)),
    Listed("per_phase_pie_v0_v1", pies.plain, ("phases",)),
    Listed("per_phase_pie_improved", pies.improved, ("phases",)),
    Listed("comparison_max_batch_capacity", capacity.sequences, ("capacity",)),
    Listed("comparison_peak_memory_at_max_batch", capacity.peaks, ("capacity",)),
    Listed("tradeoff_memory_latency_T{T}", tradeoff.at_one_length, ("latency", "memory")),
    Listed("pareto_memory_latency", pareto.at_every_length, ("latency", "memory")),
    Listed("comparison_perplexity", perplexity.compared, ("perplexity",)),
    Listed("comparison_perplexity_degradation", degradation.compared, ("perplexity",)),
    Listed("perplexity_by_position", by_position.compared, ("perplexity",)),
    Listed("positions_streamed", positions.streamed, ("positions",)),
    Listed("sharing_bytes_perplexity", sharing.ways, ("sharing",)),
)
ONE_EACH = ("v0", "v1", "v2", "v3", "v4")  # variants that a name with {variant} is asked of, measured or not


def charts(results: Results) -> tuple[list[Chart], list[str]]:
    """Every chart that the results have data for; what each of the others would need comes back as a line."""
    made, missing = list[Chart](), list[str]()
    for listed in CHARTS:
        measured = (case.variant for case in results.cases if case.family in listed.needs)
        each = dict.fromkeys([*ONE_EACH, *measured]) if "{variant}" in listed.name else [None]
        for variant in each:
            name = listed.name if variant is None else listed.name.replace("{variant}", variant)
            try:
                made.append(listed.make(results) if variant is None else listed.make(results, variant))
            except Missing as what:
                commands = " and ".join(MEASURE.format(family) for family in listed.needs)
                missing.append(f"{name}: {what}: {commands}")
    return made, missing
