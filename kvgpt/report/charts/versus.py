"""What keeping a cache buys: total latency with and without one, on a linear axis of T."""

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Results
from kvgpt.report.chart import Axis, Callout, Chart, Panel, Rule
from kvgpt.report.charts.curves import TOTAL, Curves, curves, lengths
from kvgpt.report.charts.insights import as_fast
from kvgpt.report.charts.pairs import UNCACHED, parted, speedups
from kvgpt.report.charts.panels import chart, lengths_axis
from kvgpt.report.charts.series import lines

PAIR = (UNCACHED, REFERENCE)


def uncached_and_reference(results: Results) -> Chart:
    subjects = curves(results, TOTAL, PAIR.__contains__)
    return chart(
        "comparison_v0_vs_v1_latency", "Total latency without a cache and with one", subjects.items(), _describe
    )


def _describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
    ratios = speedups(several, REFERENCE, UNCACHED)
    first, last, since = min(ratios), max(ratios), parted(ratios)
    ratio, reference = ratios[last], several[REFERENCE][last]
    fast = ratio.y >= 1
    times = f"{ratio.y if fast else 1 / ratio.y:.2f}x as {'fast' if fast else 'slow'} at T = {last:,}"
    panel = Panel(
        subject,
        Axis("new tokens T", ticks=lengths_axis(lengths(several)).ticks),
        Axis(TOTAL.label, low=0.0),
        lines(several, TOTAL.metric),
        rules=() if since is None else (Rule("x", float(since), label=f"apart from T = {since:,} on"),),
        callouts=(Callout(times, reference.x, reference.y, "good" if fast else "poor"),),
    )
    gaps = [several[UNCACHED][at].y - several[REFERENCE][at].y for at in (first, last)]
    gap = f"without a cache it takes {_more(gaps[0])} at T = {first:,}, {_more(gaps[1])} at T = {last:,}"
    if since is not None:
        word = "faster" if ratios[since].y > 1 else "slower"
        apart = f"{REFERENCE} is {word} from T = {since:,} on: from there on the intervals of the two never overlap"
    elif all(point.low is None for point in ratios.values()):
        apart = "without intervals of both nobody can say from where on they differ"
    else:
        apart = "their intervals overlap at the largest T that has both"
    return [panel], [as_fast(REFERENCE, ratio, UNCACHED), gap, apart]


def _more(gap: float) -> str:
    return f"{TOTAL.said(abs(gap))} {'more' if gap >= 0 else 'less'}"
