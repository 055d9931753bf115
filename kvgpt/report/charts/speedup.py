"""How many times as fast each variant is as another, against T."""

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Results
from kvgpt.report.chart import Axis, Chart, Missing, Panel, Rule
from kvgpt.report.charts.curves import TOTAL, Curve, Curves, curves, lengths
from kvgpt.report.charts.insights import as_fast
from kvgpt.report.charts.pairs import UNCACHED, parted, speedups
from kvgpt.report.charts.panels import chart, lengths_axis
from kvgpt.report.charts.series import lines


def over_uncached(results: Results) -> Chart:
    return _over(UNCACHED, "comparison_speedup", results)


def over_reference(results: Results) -> Chart:
    return _over(REFERENCE, f"comparison_speedup_vs_{REFERENCE}", results)


def _over(reference: str, name: str, results: Results) -> Chart:
    def describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
        ratios = _ratios(several, reference)
        level = Rule("y", 1.0, label=reference)
        x, y = lengths_axis(lengths(ratios)), Axis(f"speedup over {reference}", low=0.0)
        return [Panel(subject, x, y, lines(ratios), rules=(level,))], _told(ratios, reference)

    return chart(name, f"Speedup over {reference}", curves(results, TOTAL).items(), describe)


def _ratios(several: Curves, reference: str) -> Curves:
    """{variant: its speedups}, of all that share a length with the reference; Missing where none does."""
    ratios, missing = dict[str, Curve](), Missing(f"nothing but {reference} was measured")
    for name in several:
        if name != reference:
            try:
                ratios[name] = speedups(several, name, reference)
            except Missing as what:
                missing = what
    if not ratios:
        raise missing
    return ratios


def _told(ratios: Curves, reference: str) -> list[str]:
    told = []
    for name, curve in ratios.items():
        first, last = min(curve), max(curve)
        sentence = as_fast(name, curve[last], reference)
        if first < last:
            sentence += f", {curve[first].y:.2f}x as fast at T = {first:,}"
        since = parted(curve)
        if since is not None:
            sentence += f"; {'faster' if curve[since].y > 1 else 'slower'} from T = {since:,} on, their intervals apart"
        told.append(sentence)
    bounded = any(point.low is not None for curve in ratios.values() for point in curve.values())
    return [*told, "bounds of a speedup are the quotients of the bounds of both times"] if bounded else told
