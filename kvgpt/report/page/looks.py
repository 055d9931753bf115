"""The looks that the page draws with: a colour for light paper and one for dark, a marker and a line."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kvgpt.recipes import Style
from kvgpt.report.chart import Panel, Series
from kvgpt.report.colours import PHASES, lightened

NEUTRAL = tuple(Style(grey, marker) for grey, marker in (("#5A5A5A", "o"), ("#8A8A8A", "s"), ("#2E2E2E", "D")))
REPEATED = ("-", "--", ":", "-.")  # lines of one variant's second, third, ... curve in a panel
CURVES = ("line", "marks")


def of_panel(panel: Panel, variants: Mapping[str, Style]) -> list[Style]:
    """A look for each series: that of its variant or its phase, else the next neutral one."""
    seen, neutral, found = Counter[str](), 0, list[Style]()
    for series in panel.series:
        style = _of(series, variants, neutral)
        if series.variant is not None and series.form in CURVES:
            others = [line for line in REPEATED if line != style.line]
            before = seen[series.variant]
            style = replace(style, line=others[(before - 1) % len(others)]) if before else style
            seen[series.variant] += 1
        neutral += series.variant is None and series.phase is None and series.form != "frontier"
        found.append(style)
    return found


def described(styles: Iterable[Style]) -> list[Mapping[str, Any]]:
    """The looks as the page's script knows them; a line is a name or the lengths of its dashes and gaps."""
    return [
        {
            "light": one.colour,
            "dark": lightened(one.colour),
            "marker": one.marker,
            "line": one.line if isinstance(one.line, str) else one.line[1],
        }
        for one in styles
    ]


def _of(series: Series, variants: Mapping[str, Style], neutral: int) -> Style:
    if series.variant is not None:
        return variants[series.variant]
    if series.phase is not None and series.phase in PHASES:
        return Style(PHASES[series.phase], "o")
    return NEUTRAL[neutral % len(NEUTRAL)]
