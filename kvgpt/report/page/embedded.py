"""What the page's script draws from: the charts and the cases behind them, as JSON inside the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

from kvgpt.recorded import Case
from kvgpt.report.chart import Chart, Point
from kvgpt.report.page import looks

# A script element ends at the first "</script", and a comment opened inside it hides its end: none can be spelt so.
SPELT = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def embedded(charts: Sequence[Chart], names: Sequence[str]) -> str:
    """The charts, every case behind them once, and the looks of these variants and of the phases."""
    behind = _behind(charts)
    places = {identity: place for place, identity in enumerate(behind)}
    data = {
        "charts": [_plain(chart, places) for chart in charts],
        "cases": [_case(case, metrics) for case, metrics in behind.values()],
        "looks": {"variants": looks.variants(names), "phases": looks.phases()},
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).translate(SPELT)


def _behind(charts: Sequence[Chart]) -> dict[int, tuple[Case, dict[str, None]]]:
    """{identity of a case: the case, and the metrics that charts show of it}."""
    found: dict[int, tuple[Case, dict[str, None]]] = {}
    for chart in charts:
        for panel in chart.panels:
            for series in panel.series:
                for case in (case for point in series.points for case in point.cases):
                    _, metrics = found.setdefault(id(case), (case, {}))
                    if series.metric is not None and series.metric in case.metrics:
                        metrics[series.metric] = None
    return found


def _case(case: Case, metrics: Mapping[str, None]) -> dict[str, Any]:
    shown = {name: {key: case.metrics[name].get(key) for key in ("unit", "value", "processes")} for name in metrics}
    return {"name": case.name, "variant": case.variant, "valid": case.valid, "notes": case.notes, "metrics": shown}


def _plain(value: Any, places: Mapping[int, int]) -> Any:
    """Descriptions as objects, cases as their places; points go without what they do not say, being many."""
    if isinstance(value, Case):
        return places[id(value)]
    if is_dataclass(value):
        made = {field.name: _plain(getattr(value, field.name), places) for field in fields(value)}
        return (
            {name: one for name, one in made.items() if one not in (None, "", [])} if isinstance(value, Point) else made
        )
    if isinstance(value, tuple):
        return [_plain(one, places) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
