"""One variant against T, with the fit that tells how it grows."""

from kvgpt.recorded import Results
from kvgpt.report.chart import Chart, Panel
from kvgpt.report.charts.along import panel
from kvgpt.report.charts.curves import PER_TOKEN, TOTAL, Curves, Quantity, curves
from kvgpt.report.charts.insights import fits_told, growth_told
from kvgpt.report.charts.panels import chart
from kvgpt.report.charts.series import fit_lines, fits


def total(results: Results, variant: str) -> Chart:
    return _single("latency_total_vs_T", variant, results, TOTAL)


def per_token(results: Results, variant: str) -> Chart:
    return _single("latency_per_token_vs_T", variant, results, PER_TOKEN)


def _single(name: str, variant: str, results: Results, of: Quantity) -> Chart:
    def describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
        found = fits(several, of)
        told = [*fits_told(found, of), *growth_told(several[variant], of)]
        return [panel(subject, several, of, fit_lines(found, in_legend=True))], told

    title = f"{of.noun.capitalize()} of {variant}"
    return chart(f"{name}_{variant}", title, curves(results, of, lambda name: name == variant).items(), describe)
