"""The points of charts as CSV, a file each: what is drawn, for whoever draws it again."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from kvgpt import whole
from kvgpt.report.chart import Axis, Chart, Panel, Point, Series

HEADINGS = (
    *("panel", "series", "variant", "phase", "form"),
    *("x_axis", "x", "x_name", "y_axis", "y", "low", "high"),
    *("label", "length", "batch_size"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet takes for the start of one
Cell = str | float | None


def write(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """``<name>.csv`` for each chart, as RFC 4180 has it."""
    return [whole.write(directory / f"{whole.stem(chart.name)}.csv", text(chart)) for chart in charts]


def text(chart: Chart) -> str:
    """A line for each point, in the units that its axes name; what is unknown is empty."""
    file = io.StringIO(newline="")
    lines = csv.writer(file)
    lines.writerow(HEADINGS)
    lines.writerows([_inert(cell) for cell in row] for row in _rows(chart))
    return file.getvalue()


def _rows(chart: Chart) -> Iterator[tuple[Cell, ...]]:
    for panel in chart.panels:
        for series in panel.series:
            for point in series.points:
                yield _row(panel, series, point)


def _row(panel: Panel, series: Series, point: Point) -> tuple[Cell, ...]:
    return (
        *(panel.title, series.name, series.variant, series.phase, series.form),
        *(panel.x.label, point.x, _name(panel.x, point.x), panel.y.label, point.y, point.low, point.high),
        *(point.label, point.length, point.batch_size),
    )


def _name(axis: Axis, place: float) -> str | None:
    """Of a place on an axis of names; None between them and on any other axis."""
    return axis.names[int(place)] if place in range(len(axis.names)) else None


def _inert(cell: Cell) -> Cell:
    """A text that no spreadsheet computes; numbers stay numbers."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
