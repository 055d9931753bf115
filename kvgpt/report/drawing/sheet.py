"""A chart as a figure: its title, panels in rows, a legend below them, and what the data say as a caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kvgpt.recipes import Style
from kvgpt.report import looks
from kvgpt.report.chart import Chart, Panel, Series
from kvgpt.report.drawing import forms, measure, notes, panel, pie
from kvgpt.report.drawing.wording import lines, shortened, wrapped
from kvgpt.report.looks import Look

WIDTHS = {1: 6.6, 2: 4.9, 3: 4.3}  # inches of a panel, by their number in a row
HEIGHT, BESIDE = 3.6, 0.75  # of a panel, and what the marks of its y axis take of its width
MARGIN, GAP = 0.14, 0.1  # at the edges, and between legend and caption
TITLE, LINE = 0.22, 0.167  # of a line of the title, and of the legend or the caption
TITLED, HEADED, PLAIN = 11.0, 9.5, 8.0  # points: of the title, of a panel's, and of legend and caption
SAMPLE = 0.62  # of a sample in the legend with the space beside it
ENTRY = 64  # characters of an entry in the legend


@dataclass(frozen=True)
class Sheet:
    """How a chart is laid out: inches, but for the numbers of columns, rows and entries in a line of the legend."""

    columns: int
    rows: int
    entries_across: int
    title: str
    caption: tuple[str, ...]
    legend_from: float
    panels_from: float

    @property
    def width(self) -> float:
        return WIDTHS[self.columns] * self.columns

    @property
    def height(self) -> float:
        return self.panels_from + HEIGHT * self.rows + TITLE * (self.title.count("\n") + 1) + MARGIN


def figure(chart: Chart, variants: Mapping[str, Style]) -> Figure:
    """Draw a chart; ``variants`` are the styles of those that are in it."""
    if not chart.panels:
        raise ValueError(f"chart {chart.name!r} has no panel to draw")
    every = [looks.of_panel(one, variants) for one in chart.panels]
    slots = [forms.slots(one) for one in chart.panels]
    entries = legend(chart.panels, every)
    sheet = laid_out(chart, list(entries))
    drawn = Figure(figsize=(sheet.width, sheet.height))
    canvas = FigureCanvasAgg(drawn)
    axes = _grid(drawn, sheet, len(chart.panels))
    for place, one in enumerate(chart.panels):
        _paint(axes[place], one, every[place], slots[place], WIDTHS[sheet.columns] - BESIDE)
    _frame(drawn, sheet, entries)
    drawn.draw_without_rendering()  # now the axes have their places, and keep them
    drawn.set_layout_engine("none")
    for place, one in enumerate(chart.panels):
        if pie.is_pie(one):
            pie.paint(axes[place], one, every[place])
        else:
            notes.write(axes[place], canvas.get_renderer(), one, every[place], slots[place])
    return drawn


def laid_out(chart: Chart, entries: Sequence[str]) -> Sheet:
    """Panels in rows, as many entries of the legend side by side as fit, the insights one below the other."""
    columns = _columns(len(chart.panels))
    room = WIDTHS[columns] * columns - 2 * MARGIN
    title = wrapped(chart.title, room, 2, partial(measure.width, size=TITLED, weight="bold"))
    caption = [
        line for one in chart.insights for line in lines(one, room, partial(measure.width, size=PLAIN), indent="   ")
    ]
    fit = max(1, int(room / (SAMPLE + max((measure.width(entry, PLAIN) for entry in entries), default=0.0))))
    rows = ceil(len(entries) / fit)
    legend_from = MARGIN / 2 + (LINE * len(caption) + GAP if caption else 0.0)
    panels_from = legend_from + (LINE * rows + GAP if entries else 0.0)
    across = ceil(len(entries) / rows) if entries else 0
    return Sheet(columns, ceil(len(chart.panels) / columns), across, title, tuple(caption), legend_from, panels_from)


def legend(panels: Sequence[Panel], every: Sequence[Sequence[Look]]) -> dict[str, Artist]:
    """{text: sample} of what the panels have in common; nothing where axes of names say all of it already."""
    found: dict[str, Artist] = {}
    for one, seen in zip(panels, every, strict=True):
        for series, look in zip(one.series, seen, strict=True):
            if series.in_legend and series.points and not _named(series, one):
                text = shortened(series.name, ENTRY)
                # matplotlib leaves out what begins with an underscore: a space of no width goes before it
                found.setdefault(f"\u200b{text}" if text.startswith("_") else text, forms.sample(series, look))
    return found


def _named(series: Series, one: Panel) -> bool:
    return one.x.scale == "names" and series.name in one.x.names


def _columns(panels: int) -> int:
    """As many as fit side by side; four make two even rows."""
    return 2 if panels == 4 else min(panels, max(WIDTHS))


def _grid(drawn: Figure, sheet: Sheet, panels: int) -> list[Axes]:
    width, height = sheet.width, sheet.height
    rectangle = (MARGIN / 2 / width, sheet.panels_from / height, 1 - MARGIN / width, HEIGHT * sheet.rows / height)
    drawn.set_layout_engine(ConstrainedLayoutEngine(rect=rectangle, w_pad=0.08, h_pad=0.08))
    axes = list(drawn.subplots(sheet.rows, sheet.columns, squeeze=False).flat)
    for spare in axes[panels:]:
        spare.remove()
    return axes[:panels]


def _paint(axes: Axes, one: Panel, seen: Sequence[Look], slots: Sequence[Sequence[forms.Slot]], inches: float) -> None:
    axes.set_title(wrapped(one.title, inches, 2, partial(measure.width, size=HEADED)))
    if pie.is_pie(one):
        axes.set_axis_off()
    else:
        panel.paint(axes, one, seen, slots, inches)


def _frame(drawn: Figure, sheet: Sheet, entries: Mapping[str, Artist]) -> None:
    """What is around the panels."""
    left, top = MARGIN / sheet.width, 1 - MARGIN / sheet.height
    drawn.text(left, top, sheet.title, size=TITLED, weight="bold", va="top")
    caption = "\n".join(sheet.caption)
    drawn.text(left, MARGIN / 2 / sheet.height, caption, size=PLAIN, va="bottom", linespacing=1.45)
    if entries:
        drawn.legend(
            list(entries.values()),
            list(entries),
            loc="lower center",
            ncols=sheet.entries_across,
            bbox_to_anchor=(0.5, sheet.legend_from / sheet.height),
        )
