"""Past the learned positions: what each policy costs in quality, time and bytes, against the tokens streamed."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kvgpt.recipes import Style, styles
from kvgpt.recorded import Case, Results
from kvgpt.report import style
from kvgpt.report.select import axis

MEGA, MILLI = 1e6, 1e-3
PANELS = (
    ("perplexity_at_end", 1.0, "perplexity of the last quarter context"),
    ("per_token_latency", MILLI, "latency of a step at T (ms)"),
    ("cache_bytes", MEGA, "cache (MB)"),
)


def streamed(results: Results) -> Figure | None:
    """Perplexity before T, latency at T and bytes held, each against T; None without data."""
    cases = results.of("positions", "perplexity_at_end")
    if not cases:
        return None
    curves: dict[str, list[Case]] = {}
    for case in cases:
        curves.setdefault(_name(case), []).append(case)
    looks = styles(list(curves))
    drawn, axes = style.figure(len(PANELS), width=4.4, height=3.8)
    block = cases[0].workload["block_size"]
    for panel, (metric, unit, label) in zip(axes, PANELS, strict=True):
        for name, curve in curves.items():
            _curve(panel, sorted(curve, key=lambda case: case.workload["new_tokens"]), metric, unit, name, looks[name])
        style.lengths(panel, [int(length) for length in axis(cases, "new_tokens")])
        panel.set_xlabel("tokens streamed T")
        panel.axvline(block, color="#555555", linewidth=0.9, linestyle="--", zorder=0)
        panel.set_ylabel(label)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[0].yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(value)[0] in "235" else "")
    axes[1].set_ylim(bottom=0)
    axes[2].set_ylim(bottom=0)
    workload = cases[0].workload
    axes[0].set_title(f"{workload['model']}, {workload['dtype']}, {workload['device']}")
    axes[1].set_title(f"dashed line: the context, {block}")
    if any(case.workload["approximate"] for case in cases):
        axes[2].set_title("hollow: approximate")
    axes[0].legend(fontsize=8)
    return drawn


def _curve(panel: Axes, cases: list[Case], metric: str, unit: float, name: str, look: Style) -> None:
    panel.plot(
        [case.workload["new_tokens"] for case in cases],
        [float(case.metrics[metric]["value"]) / unit for case in cases],
        marker=look.marker,
        linestyle=look.line,
        color=look.colour,
        label=name,
        markerfacecolor="white" if cases[0].workload["approximate"] else look.colour,
    )


def _name(case: Case) -> str:
    kind = str(case.workload["positions"]).partition(":")[0]
    return case.variant if kind == "error" else f"{case.variant}, {kind}"
