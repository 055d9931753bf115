"""Charts of a quantity against T: as it is, with a fit through each variant, or with the bands of the intervals."""

from collections.abc import Sequence

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Results
from kvgpt.report.chart import Axis, Chart, Missing, Panel, Series
from kvgpt.report.charts.curves import Curves, Quantity, curves, lengths
from kvgpt.report.charts.insights import against, fits_told, intervals_told, ranked
from kvgpt.report.charts.pairs import UNCACHED
from kvgpt.report.charts.panels import chart, lengths_axis
from kvgpt.report.charts.series import bands, fit_lines, fits, lines


def panel(subject: str, several: Curves, of: Quantity, more: Sequence[Series] = ()) -> Panel:
    """A line for each variant, and whatever else is drawn over or under these."""
    y = Axis(of.label, low=0.0)
    return Panel(subject, lengths_axis(lengths(several)), y, (*lines(several, of.metric), *more))


def fitted(name: str, title: str, results: Results, of: Quantity) -> Chart:
    def describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
        found = fits(several, of)
        told = [*fits_told(found, of), *ranked(several, of), *against(several, UNCACHED, (REFERENCE,))]
        return [panel(subject, several, of, fit_lines(found))], told

    return chart(name, title, curves(results, of).items(), describe)


def banded(name: str, title: str, results: Results, of: Quantity) -> Chart:
    def describe(subject: str, several: Curves) -> tuple[list[Panel], list[str]]:
        known = bands(several)
        if not known:
            raise Missing(f"no {of.noun} has an interval, which takes 6 samples or more")
        return [panel(subject, several, of, known)], intervals_told(several)

    return chart(name, title, curves(results, of).items(), describe)
