"""Throughput against T: the tokens of all sequences together, in a second."""

from kvgpt.recorded import Results
from kvgpt.report.chart import Chart, Panel
from kvgpt.report.charts.along import banded, panel
from kvgpt.report.charts.curves import THROUGHPUT, Curves, curves
from kvgpt.report.charts.insights import differences, ranked
from kvgpt.report.charts.panels import chart


def throughput(results: Results) -> Chart:
    def describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
        return [panel(subject, several, THROUGHPUT)], [*ranked(several, THROUGHPUT), *differences(several, THROUGHPUT)]

    return chart("comparison_throughput", "Throughput", curves(results, THROUGHPUT).items(), describe)


def throughput_intervals(results: Results) -> Chart:
    return banded("comparison_throughput_ci", "Throughput, with 95% intervals", results, THROUGHPUT)
