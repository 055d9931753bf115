"""What each form of a series is drawn as, and its sample in the legend: a table of forms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kvgpt.report.chart import Form, Panel, Point, Series
from kvgpt.report.drawing.scales import drawable
from kvgpt.report.looks import Look

INK, RULE = "#222222", "#555555"
PAPER = "#FFFFFF"
BARS = ("bars", "stack")
WITH_INTERVALS = ("line", "marks", "bars", "band")
UNFILLED = frozenset("x+|_1234")  # markers that are lines
SIZES: dict[str | tuple[int, int, int], float] = {  # points; others 5.5
    "*": 8.5,
    (4, 1, 0): 9.0,
    (6, 1, 0): 8.0,
    "p": 6.5,
    "d": 6.5,
    "x": 6.0,
    "+": 7.0,
    "|": 7.5,
    "1": 8.0,
    "2": 8.0,
    "3": 8.0,
    "4": 8.0,
}
BESIDE, ALONE = 0.84, 0.66  # of the distance between two places: all bars of a place, and one
SHADE = 0.16  # opacity of what is shaded


@dataclass(frozen=True)
class Drawn:
    """One series on its axes; ``slots`` are where the bars of the panel stand, series by series."""

    axes: Axes
    series: Series
    look: Look
    panel: Panel
    slots: Sequence[Sequence["Slot"]]
    place: int  # of the series in the panel


@dataclass(frozen=True)
class Slot:
    """Where a bar stands: its middle, its width, and what it stands upon."""

    x: float
    width: float
    foot: float = 0.0


def slots(panel: Panel) -> list[list[Slot]]:
    """For each series the slots of its points: bars of one x side by side, stacked ones upon one another."""
    step = _step(panel)
    beside: dict[float, list[int]] = {}
    for number, series in enumerate(panel.series):
        for point in series.points if series.form == "bars" else ():
            beside.setdefault(point.x, []).append(number)
    most = max(map(len, beside.values()), default=1)
    width = step * (ALONE if most == 1 else BESIDE / most)
    height: dict[float, float] = {}
    made: list[list[Slot]] = []
    for number, series in enumerate(panel.series):
        here: list[Slot] = []
        for point in series.points:
            group, foot = beside.get(point.x, [number]), height.get(point.x, 0.0)
            if series.form == "stack":
                height[point.x] = foot + drawable(point.y)
                here.append(Slot(point.x, step * ALONE, foot))
            elif series.form == "bars":
                here.append(Slot(point.x + width * (group.index(number) - (len(group) - 1) / 2), width))
            else:
                here.append(Slot(point.x, 0.0))
        made.append(here)
    return made


def paint(drawn: Drawn) -> None:
    """Draw one series."""
    PAINTERS[drawn.series.form](drawn)


def sample(series: Series, look: Look) -> Artist:
    """What stands for a series in the legend."""
    if series.form in (*BARS, "slices"):
        return Patch(**_filled(look))
    if series.form in ("band", "region"):
        return Patch(facecolor=look.style.colour, alpha=SHADE + 0.1, linewidth=0)
    return Line2D([], [], **LINES[series.form](look))


def _line(look: Look) -> dict[str, Any]:
    return {"linestyle": look.style.line, **_marks(look)} | {"linestyle": look.style.line}


def _marks(look: Look) -> dict[str, Any]:
    style = look.style
    fine = style.marker in UNFILLED
    return {
        "color": style.colour,
        "linestyle": "none",
        "marker": style.marker,
        "markersize": SIZES.get(style.marker, 5.5),
        "markerfacecolor": PAPER if look.hollow else style.colour,
        "markeredgecolor": style.colour if look.hollow or fine else PAPER,
        "markeredgewidth": 1.3 if look.hollow or fine else 0.5,
    }


def _fit(look: Look) -> dict[str, Any]:
    return {"color": look.style.colour, "linewidth": 0.9, "alpha": 0.9}


def _projection(look: Look) -> dict[str, Any]:
    return {"color": look.style.colour, "linewidth": 1.2, "linestyle": (0, (5, 2.5))}


def _frontier(look: Look) -> dict[str, Any]:
    return {"color": RULE, "linewidth": 1.0, "linestyle": "--"}


LINES: dict[Form, Callable[[Look], dict[str, Any]]] = {
    "line": _line,
    "marks": _marks,
    "fit": _fit,
    "projection": _projection,
    "frontier": _frontier,
}


def _filled(look: Look) -> dict[str, Any]:
    colour = look.style.colour
    if look.hollow:
        return {"facecolor": PAPER, "edgecolor": colour, "linewidth": 1.2, "hatch": "////"}
    return {"facecolor": colour, "edgecolor": PAPER, "linewidth": 0.5}


def _paint_line(drawn: Drawn) -> None:
    points = drawn.series.points
    order = 2.2 if drawn.series.form in ("fit", "projection", "frontier") else 3
    drawn.axes.plot(_xs(points), _ys(points), **LINES[drawn.series.form](drawn.look), zorder=order)
    if drawn.series.form in ("line", "marks") and not _banded(drawn):
        _whiskers(drawn, [Slot(point.x, 0.0) for point in points], drawn.look.style.colour)


def _paint_bars(drawn: Drawn) -> None:
    here = drawn.slots[drawn.place]
    heights = _ys(drawn.series.points)
    drawn.axes.bar(
        [slot.x for slot in here],
        heights,
        width=[slot.width for slot in here],
        bottom=[slot.foot for slot in here],
        zorder=2,
        **_filled(drawn.look),
    )
    if drawn.series.form == "bars":
        _whiskers(drawn, here, INK)


def _paint_band(drawn: Drawn) -> None:
    known = [point for point in drawn.series.points if point.low is not None and point.high is not None]
    lows = [drawable(point.low) for point in known if point.low is not None]
    highs = [drawable(point.high) for point in known if point.high is not None]
    drawn.axes.fill_between(
        _xs(known), lows, highs, color=drawn.look.style.colour, alpha=SHADE, linewidth=0, zorder=1.5
    )


def _paint_region(drawn: Drawn) -> None:
    points = drawn.series.points
    drawn.axes.fill(_xs(points), _ys(points), color=drawn.look.style.colour, alpha=SHADE, linewidth=0, zorder=1.2)


PAINTERS: dict[Form, Callable[[Drawn], None]] = {
    "line": _paint_line,
    "marks": _paint_line,
    "fit": _paint_line,
    "projection": _paint_line,
    "frontier": _paint_line,
    "bars": _paint_bars,
    "stack": _paint_bars,
    "band": _paint_band,
    "region": _paint_region,
}


def _whiskers(drawn: Drawn, here: Sequence[Slot], colour: str) -> None:
    for point, slot in zip(drawn.series.points, here, strict=True):
        if point.low is not None and point.high is not None:
            ends = drawable(point.low), drawable(point.high)
            drawn.axes.vlines(slot.x, *ends, color=colour, linewidth=1.0, zorder=2.8)


def _banded(drawn: Drawn) -> bool:
    """Whether a band shows the intervals of this series already."""
    return any(one.form == "band" and one.variant == drawn.series.variant for one in drawn.panel.series)


def _step(panel: Panel) -> float:
    """The distance between two places of bars."""
    places = sorted({point.x for series in panel.series if series.form in BARS for point in series.points})
    apart = [after - before for before, after in pairwise(places)]
    return 1.0 if panel.x.scale == "names" or not apart else min(apart)


def _xs(points: Sequence[Point]) -> list[float]:
    return [drawable(point.x) for point in points]


def _ys(points: Sequence[Point]) -> list[float]:
    return [drawable(point.y) for point in points]
