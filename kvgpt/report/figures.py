"""The figures: each a function of the results, or a sentence on what would have to be measured for it."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kvgpt.recipes import REFERENCE, Style, styles
from kvgpt.recorded import Case, Results
from kvgpt.report import style
from kvgpt.report.positions import streamed
from kvgpt.report.select import axis, by_variant, latest_length, pick, scored

MEGA, MILLI = 1e6, 1e-3
BENCHMARK = "pytest benchmarks/bench_{}.py --benchmark-json=OUT.json"


class Missing(Exception):
    """A figure's data are not in the results; the message says what would put them there."""


def per_token_latency(results: Results) -> tuple[str, Figure]:
    """Per-token latency against T, one panel a batch size, with the interval of the median."""
    return "comparison_per_token_latency", _against_length(
        results, "latency", [("per_token_latency", MILLI, "per-token latency (ms)")]
    )


def memory(results: Results) -> tuple[str, Figure]:
    """Peak memory and the cache's own bytes against T."""
    return "KEY_comparison_vram", _against_length(
        results, "memory", [("peak_memory", MEGA, "peak memory (MB)"), ("cache_bytes", MEGA, "cache alone (MB)")]
    )


def perplexity(results: Results) -> tuple[str, Figure]:
    """A bar for each variant, one panel a mode, with the 95% interval of the perplexity itself."""
    panels = _modes(results, "perplexity")
    drawn, axes = style.figure(len(panels))
    for (mode, cases), panel in zip(panels.items(), axes, strict=True):
        looks = styles([case.variant for case in cases])
        for place, case in enumerate(cases):
            value = _value(case, "perplexity")
            panel.bar(place, value, color=looks[case.variant].colour, width=0.7)
            _whisker(panel, place, case, "perplexity", 1.0)
            _above(panel, place, _top(case, "perplexity"), f"{value:.2f}")
        values = [_value(case, "perplexity") for case in cases]
        if max(values) > 20 * min(values):
            panel.set_yscale("log")
        baseline = next((_value(case, "perplexity") for case in cases if case.variant == REFERENCE), None)
        if baseline is not None:
            panel.axhline(baseline, color="#555555", linewidth=0.8, linestyle="--", zorder=0)
        panel.set_xticks(range(len(cases)), [case.variant for case in cases])
        panel.set_ylabel("perplexity")
        panel.set_title(f"{mode.replace('_', ' ')}, {cases[0].workload['scored_tokens']:,} tokens")
        panel.grid(axis="x", visible=False)
    return "comparison_perplexity", drawn


def perplexity_change(results: Results) -> tuple[str, Figure]:
    """Change of perplexity against the reference, in percent, on an axis that is linear around zero."""
    panels = _modes(results, "perplexity_change")
    drawn, axes = style.figure(len(panels))
    for (mode, cases), panel in zip(panels.items(), axes, strict=True):
        shown = [case for case in cases if case.variant != REFERENCE]
        looks = styles([case.variant for case in cases])
        panel.set_yscale("symlog", linthresh=0.1, linscale=0.6)
        changes = [100 * _value(case, "perplexity_change") for case in shown]
        lowest, highest = min([-0.1, *(1.5 * change for change in changes)]), max([30.0, *(4 * c for c in changes)])
        bands = ((lowest, 1.0, "#DDEFE3"), (1.0, 10.0, "#FBF1D5"), (10.0, highest, "#F8DEDC"))
        for low, high, colour in bands:
            panel.axhspan(low, high, color=colour, zorder=0)
        panel.axhline(1.0, color="#C0392B", linewidth=0.9, linestyle="--")
        for place, (case, value) in enumerate(zip(shown, changes, strict=True)):
            panel.plot(place, value, looks[case.variant].marker, color=looks[case.variant].colour, markersize=7)
            _whisker(panel, place, case, "perplexity_change", 100.0)
            label = "0%" if abs(value) < 5e-4 else f"{value:+.3g}%" if abs(value) < 100 else f"{value:+,.0f}%"
            _above(panel, place, 100 * _top(case, "perplexity_change"), label)
        panel.set_xlim(-0.6, len(shown) - 0.4)
        panel.set_ylim(lowest, highest)
        panel.set_xticks(range(len(shown)), [case.variant for case in shown])
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.set_ylabel(f"change of perplexity against {REFERENCE} (%)")
        panel.set_title(mode.replace("_", " "))
        panel.grid(axis="x", visible=False)
    return "comparison_perplexity_degradation", drawn


def tradeoff(results: Results) -> tuple[str, Figure]:
    """Total latency against peak memory at the largest T that both were measured at; the frontier joins what no other
    variant beats in both.
    """
    latency, peak = results.of("latency", "total_latency"), results.of("memory", "peak_memory")
    length = latest_length(latency, peak)
    both = [set(axis(pick(cases, new_tokens=length), "batch_size")) for cases in (latency, peak)]
    batch = min(set.intersection(*both), default=None)
    if batch is None:
        raise Missing(f"{BENCHMARK.format('latency')} and {BENCHMARK.format('memory')} at one length and batch size")
    times = {case.variant: case for case in pick(latency, new_tokens=length, batch_size=batch)}
    bytes_of = {case.variant: case for case in pick(peak, new_tokens=length, batch_size=batch)}
    names = [name for name in times if name in bytes_of]
    points = {
        name: (_value(bytes_of[name], "peak_memory") / MEGA, _value(times[name], "total_latency") / MILLI)
        for name in names
    }
    drawn, (panel,) = style.figure(width=5.4, height=3.8)
    looks = styles(names)
    for name, (x, y) in points.items():
        low_high = times[name].interval("total_latency")
        if low_high is not None:
            panel.vlines(x, low_high[0] / MILLI, low_high[1] / MILLI, color=looks[name].colour, linewidth=1.0)
        panel.plot(x, y, looks[name].marker, color=looks[name].colour, markersize=9, label=name)
    for together in _clusters(points):
        panel.annotate(", ".join(together), points[together[0]], (7, 6), textcoords="offset points")
    frontier = sorted(point for point in points.values() if not any(_beats(other, point) for other in points.values()))
    panel.plot(*zip(*frontier, strict=True), color="#555555", linewidth=0.9, linestyle="--", zorder=0, label="frontier")
    panel.margins(0.15)
    panel.set_xlabel("peak memory (MB)")
    panel.set_ylabel("total latency (ms)")
    panel.set_title(f"{_subject(times[names[0]])}, B = {batch}, T = {length}")
    return f"tradeoff_memory_latency_T{length}", drawn


def positions(results: Results) -> tuple[str, Figure]:
    """Perplexity, latency and bytes past the learned positions, against the tokens streamed."""
    drawn = streamed(results)
    if drawn is None:
        raise Missing(BENCHMARK.format("positions"))
    return "positions_streamed", drawn


FIGURES: tuple[Callable[[Results], tuple[str, Figure]], ...] = (
    per_token_latency,
    memory,
    perplexity,
    perplexity_change,
    tradeoff,
    positions,
)


def draw(results: Results, directory: Path) -> tuple[list[Path], list[str]]:
    """Write every figure that the results have data for; what each of the others would need comes back as a line."""
    written: list[Path] = []
    missing: list[str] = []
    with style.applied():
        for make in FIGURES:
            try:
                name, drawn = make(results)
            except Missing as what:
                missing.append(f"{make.__name__}: needs {what}")
            else:
                written += style.save(drawn, directory, name)
    return written, missing


def _against_length(results: Results, family: str, metrics: list[tuple[str, float, str]]) -> Figure:
    cases = results.of(family, metrics[0][0])
    if not cases:
        raise Missing(BENCHMARK.format(family))
    panels = [(batch, *metric) for batch in axis(cases, "batch_size") for metric in metrics]
    drawn, axes = style.figure(len(panels), width=4.8)
    for (batch, metric, unit, label), panel in zip(panels, axes, strict=True):
        curves = by_variant(pick(cases, batch_size=batch))
        for name, look in styles(list(curves)).items():
            _curve(panel, curves[name], metric, unit, name, look)
        style.lengths(panel, [int(length) for length in axis(cases, "new_tokens")])
        panel.set_ylabel(label)
        if panel.get_ylim()[0] < panel.get_ylim()[1] / 2:
            panel.set_ylim(bottom=0)
        panel.set_title(f"{_subject(cases[0])}, B = {batch}")
    axes[0].legend(ncols=2)
    return drawn


def _curve(panel: Axes, cases: list[Case], metric: str, unit: float, name: str, look: Style) -> None:
    x = [case.workload["new_tokens"] for case in cases]
    panel.plot(
        x,
        [_value(case, metric) / unit for case in cases],
        marker=look.marker,
        linestyle=look.line,
        color=look.colour,
        label=name,
    )
    bounds = [case.interval(metric) for case in cases]
    known = [bound for bound in bounds if bound is not None]
    if len(known) == len(cases):
        panel.fill_between(
            x,
            [low / unit for low, _ in known],
            [high / unit for _, high in known],
            color=look.colour,
            alpha=0.15,
            linewidth=0,
        )


def _modes(results: Results, metric: str) -> dict[str, list[Case]]:
    panels = scored(results.of("perplexity", metric))
    if not panels:
        raise Missing(BENCHMARK.format("perplexity"))
    return panels


def _whisker(panel: Axes, place: float, case: Case, metric: str, factor: float) -> None:
    low_high = case.interval(metric)
    if low_high is not None:
        panel.vlines(place, factor * low_high[0], factor * low_high[1], color="#222222", linewidth=1.0)


def _above(panel: Axes, x: float, y: float, label: str) -> None:
    panel.annotate(label, (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=8)


def _top(case: Case, metric: str) -> float:
    low_high = case.interval(metric)
    return _value(case, metric) if low_high is None else low_high[1]


def _value(case: Case, metric: str) -> float:
    return float(case.metrics[metric]["value"])


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def _clusters(points: dict[str, tuple[float, float]]) -> list[list[str]]:
    """Names whose points would print over each other, to be labelled once."""
    spans = [max(axis) - min(axis) or 1.0 for axis in zip(*points.values(), strict=True)]
    groups: list[list[str]] = []
    for name, point in points.items():
        near = [
            group
            for group in groups
            if all(abs(a - b) < 0.03 * span for a, b, span in zip(point, points[group[0]], spans, strict=True))
        ]
        if near:
            near[0].append(name)
        else:
            groups.append([name])
    return groups


def _subject(case: Case) -> str:
    workload = case.workload
    return f"{workload['model']}, {workload['dtype']}, {workload['device']}"
