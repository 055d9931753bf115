"""Past the learned positions: what each policy costs in quality, time and bytes, against the tokens streamed."""

from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Missing, Panel, Point, Rule, Series
from kvgpt.report.select import axis, grouped, models

METRICS = (  # metric, its unit on the axis, and the axis
    ("perplexity_at_end", 1.0, Axis("perplexity of the last quarter context", "log")),
    ("per_token_latency", 1e-3, Axis("latency of a step at T (ms)", low=0.0)),
    ("cache_bytes", 1e6, Axis("cache (MB)", low=0.0)),
)


def streamed(results: Results) -> Chart:
    """Perplexity before T, latency at T and bytes held, each against T; what is approximate is hollow."""
    cases = results.of("positions", "perplexity_at_end")
    if not cases:
        raise Missing("no text was streamed past the learned positions")
    # How many streams run side by side depends on the length of the text: a panel has those of any batch size.
    panels = tuple(panel for model, alike in models(cases).items() for panel in _panels(model, alike))
    hollow = any(case.workload["approximate"] for case in cases)
    insights = ("Hollow markers: approximate, so that the perplexity is not the model's own.",) if hollow else ()
    return Chart("positions_streamed", "Past the learned positions", panels, insights)


def _panels(model: str, cases: list[Case]) -> list[Panel]:
    """One for each metric that was measured."""
    x = Axis("tokens streamed T", "log2", ticks=tuple(map(float, axis(cases, "new_tokens"))))
    contexts = [Rule("x", float(size), label=f"context {size:,}") for size in axis(cases, "block_size")]
    known = [one for one in METRICS if any(one[0] in case.metrics for case in cases)]
    return [Panel(model, x, y, _curves(cases, metric, unit), rules=tuple(contexts)) for metric, unit, y in known]


def _curves(cases: list[Case], metric: str, unit: float) -> tuple[Series, ...]:
    curves = grouped((case for case in cases if metric in case.metrics), _policy)
    return tuple(
        Series(
            policy,
            "line",
            tuple(_point(case, metric, unit) for case in sorted(curve, key=lambda one: one.workload["new_tokens"])),
            variant=curve[0].variant,
            metric=metric,
            faint=bool(curve[0].workload["approximate"]),
        )
        for policy, curve in curves.items()
    )


def _point(case: Case, metric: str, unit: float) -> Point:
    low, high = case.interval(metric) or (None, None)
    length = case.workload["new_tokens"]
    return Point(
        x=float(length),
        y=case.metrics[metric]["value"] / unit,
        low=None if low is None else low / unit,
        high=None if high is None else high / unit,
        length=length,
        batch_size=case.workload.get("batch_size"),
        cases=(case,),
    )


def _policy(case: Case) -> str:
    kind = str(case.workload["positions"]).partition(":")[0]
    return case.variant if kind == "error" else f"{case.variant}, {kind}"
