"""How each series of a panel looks: as its variant, as its phase, or as neither."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kvgpt.recipes import Style, styles
from kvgpt.report.chart import Chart, Panel, Series
from kvgpt.report.colours import PARTS

NEUTRAL = tuple(Style(grey, marker) for grey, marker in (("#5A5A5A", "o"), ("#8A8A8A", "s"), ("#2E2E2E", "D")))
REPEATED = ("-", "--", ":", "-.")  # lines of one variant's second, third, ... series in a panel
CURVES = ("line", "marks")


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of one series; what is hollow has a marker or a bar that is empty inside."""

    style: Style
    hollow: bool = False


def of_variants(charts: Iterable[Chart]) -> Mapping[str, Style]:
    """One style for each variant in all of the charts, in the order in which they come."""
    every = (series.variant for chart in charts for panel in chart.panels for series in panel.series)
    return styles(variant for variant in every if variant is not None)


def of_panel(panel: Panel, variants: Mapping[str, Style]) -> list[Look]:
    """A look for each series of a panel. Curves of one variant are told apart by their lines."""
    seen, neutral, found = Counter[str](), 0, list[Look]()
    for series in panel.series:
        style = _style(series, variants, neutral)
        if series.variant is not None and series.form in CURVES:
            before = seen[series.variant]
            style = replace(style, line=_other(style, before)) if before else style
            seen[series.variant] += 1
        neutral += series.variant is None and series.phase is None and series.form != "frontier"
        found.append(Look(style, series.faint))
    return found


def _style(series: Series, variants: Mapping[str, Style], neutral: int) -> Style:
    if series.variant is not None:
        return variants[series.variant]
    if series.phase is not None and series.phase in PARTS:
        return Style(PARTS[series.phase], "o")
    return NEUTRAL[neutral % len(NEUTRAL)]


def _other(style: Style, before: int) -> str:
    others = [line for line in REPEATED if line != style.line]
    return others[(before - 1) % len(others)]
