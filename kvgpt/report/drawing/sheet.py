"""A chart as a figure: its title, panels in rows, a legend below them, and what the data say as a caption."""

from collections.abc import Mapping, Sequence
from math import ceil
from textwrap import wrap

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kvgpt.recipes import Style
from kvgpt.report.chart import Chart, Panel, Series
from kvgpt.report.drawing import forms, looks, panel, pie
from kvgpt.report.drawing.looks import Look
from kvgpt.report.drawing.notes import Notes
from kvgpt.report.drawing.wording import plain, shortened, wrapped

MOST_COLUMNS = 3
WIDTHS = {1: 6.6, 2: 4.9, 3: 4.3}  # inches of a panel, by their number in a row
HEIGHT = 3.6
TITLE, LINE, MARGIN = 0.24, 0.175, 0.14  # inches: of the title, of a line of legend or caption, at the edges
LETTER = 0.068  # inches: of a letter in the legend or the caption, at most
HANDLE = 0.62  # inches: of a sample in the legend with the space beside it
ENTRY = 44  # characters of an entry in the legend


def figure(chart: Chart, variants: Mapping[str, Style]) -> Figure:
    """Draw a chart; ``variants`` are the styles of those that are in it."""
    if not chart.panels:
        raise ValueError(f"chart {chart.name!r} has no panel to draw")
    columns = _columns(len(chart.panels))
    rows = ceil(len(chart.panels) / columns)
    width = WIDTHS[columns] * columns
    every = [looks.of_panel(one, variants) for one in chart.panels]
    entries = legend(chart.panels, every)
    fit = max(1, int((width - 2 * MARGIN) / (HANDLE + LETTER * max(map(len, entries), default=1))))
    lines = ceil(len(entries) / fit)
    caption = _caption(chart.insights, width)
    foot = MARGIN / 2 + LINE * (lines + len(caption)) + (0.12 if entries else 0) + (0.1 if caption else 0)
    height = HEIGHT * rows + foot + TITLE + MARGIN
    drawn = Figure(figsize=(width, height))
    canvas = FigureCanvasAgg(drawn)
    rectangle = (MARGIN / 2 / width, foot / height, 1 - MARGIN / width, 1 - (foot + TITLE + MARGIN) / height)
    drawn.set_layout_engine(ConstrainedLayoutEngine(rect=rectangle, w_pad=0.08, h_pad=0.08))
    axes = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[len(chart.panels) :]:
        spare.remove()
    slots = [forms.slots(one) for one in chart.panels]
    for place, one in enumerate(chart.panels):
        _paint(axes[place], one, every[place], slots[place], WIDTHS[columns])
    drawn.text(
        MARGIN / width, 1 - MARGIN / height, shortened(chart.title, int(width / 0.11)), size=11, weight="bold", va="top"
    )
    drawn.text(MARGIN / width, MARGIN / 2 / height, "\n".join(caption), size=8, va="bottom", linespacing=1.45)
    if entries:
        above_caption = MARGIN / 2 + LINE * len(caption) + (0.1 if caption else 0)
        drawn.legend(
            list(entries.values()),
            list(entries),
            loc="lower center",
            ncols=ceil(len(entries) / lines),
            bbox_to_anchor=(0.5, above_caption / height),
        )
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    for place, one in enumerate(chart.panels):
        if not pie.is_pie(one.series):
            Notes(axes[place], one, slots[place], canvas.get_renderer()).write()
    return drawn


def legend(panels: Sequence[Panel], every: Sequence[Sequence[Look]]) -> dict[str, Artist]:
    """{text: sample} of what the panels have in common; nothing where axes of names say all of it already."""
    found: dict[str, Artist] = {}
    for one, seen in zip(panels, every, strict=True):
        for series, look in zip(one.series, seen, strict=True):
            if series.in_legend and series.points and not _named(series, one):
                text = shortened(series.name, ENTRY)
                found.setdefault(f"\u200b{text}" if text.startswith("_") else text, forms.sample(series, look))
    return found


def _named(series: Series, one: Panel) -> bool:
    return one.x.scale == "names" and series.name in one.x.names


def _paint(axes: Axes, one: Panel, seen: Sequence[Look], slots: Sequence[Sequence[forms.Slot]], inches: float) -> None:
    axes.set_title(wrapped(one.title, int(inches / LETTER), lines=2))
    if pie.is_pie(one.series):
        pie.paint(axes, one, seen)
    else:
        panel.paint(axes, one, seen, slots, inches - 0.8)


def _columns(panels: int) -> int:
    """As many as fit side by side, and no row with one panel only where two rows can be even."""
    return 2 if panels == 4 else min(panels, MOST_COLUMNS)


def _caption(insights: Sequence[str], width: float) -> list[str]:
    letters = int((width - 2 * MARGIN) / LETTER)
    return [line for one in insights for line in wrap(plain(one), letters, subsequent_indent="   ")]
