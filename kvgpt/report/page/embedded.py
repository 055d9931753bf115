"""What the page's script draws from: the charts and the cases behind them, as JSON inside the page."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

from kvgpt.recipes import Style, styles
from kvgpt.recorded import Case
from kvgpt.report import looks
from kvgpt.report.chart import Chart, Panel, Point, Series
from kvgpt.report.colours import lightened

# A script element ends at the first "</script", and a comment opened inside it hides its end: none can be spelt so.
SPELT = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
SHOWN = ("unit", "value", "processes")  # of a metric


def embedded(charts: Sequence[Chart], variants: Sequence[str]) -> str:
    """The charts, every case behind them once, every look once, and these variants as the filter has them."""
    every = [series for panel in _panels(charts) for series in panel.series]
    cases = _behind(every)
    places = {identity: place for place, identity in enumerate(cases)}
    styled = styles([*(series.variant for series in every if series.variant is not None), *variants])
    worn = [look.style for panel in _panels(charts) for look in looks.of_panel(panel, styled)]
    distinct = {style: place for place, style in enumerate(dict.fromkeys([*styled.values(), *worn]))}
    data = {
        "charts": [_plain(chart, places) for chart in charts],
        "cases": [_case(case, metrics) for case, metrics in cases.values()],
        "looks": [_look(style) for style in distinct],
        "worn": [distinct[style] for style in worn],
        "variants": [{"name": name, "look": distinct[styled[name]]} for name in variants],
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).translate(SPELT)


def _panels(charts: Sequence[Chart]) -> Iterator[Panel]:
    return (panel for chart in charts for panel in chart.panels)


def _behind(every: Iterable[Series]) -> dict[int, tuple[Case, dict[str, None]]]:
    """{identity of a case: the case, and the metrics that are shown of it}."""
    found: dict[int, tuple[Case, dict[str, None]]] = {}
    for series in every:
        for case in (case for point in series.points for case in point.cases):
            _, metrics = found.setdefault(id(case), (case, {}))
            if series.metric is not None and series.metric in case.metrics:
                metrics[series.metric] = None
    return found


def _case(case: Case, metrics: Iterable[str]) -> dict[str, Any]:
    shown = {name: {key: case.metrics[name][key] for key in SHOWN if key in case.metrics[name]} for name in metrics}
    return {"name": case.name, "variant": case.variant, "valid": case.valid, "notes": case.notes, "metrics": shown}


def _look(style: Style) -> dict[str, Any]:
    """With a colour for light paper and one for dark; a line is a name, or the lengths of its dashes and gaps."""
    line = style.line if isinstance(style.line, str) else style.line[1]
    return {"light": style.colour, "dark": lightened(style.colour), "marker": style.marker, "line": line}


def _plain(value: Any, places: Mapping[int, int]) -> Any:
    """Descriptions as objects, cases as their places; points go without what they do not say, being many."""
    if isinstance(value, Case):
        return places[id(value)]
    if is_dataclass(value):
        made = {field.name: _plain(getattr(value, field.name), places) for field in fields(value)}
        said = {name: one for name, one in made.items() if one not in (None, "", [])}
        return said if isinstance(value, Point) else made
    if isinstance(value, tuple):
        return [_plain(one, places) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
