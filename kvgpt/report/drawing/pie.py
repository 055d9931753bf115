"""A pie: slices with their shares and values, small ones pulled out and labelled outside."""

import re
from collections.abc import Sequence
from math import cos, radians, sin

from matplotlib.axes import Axes
from matplotlib.patches import Wedge

from kvgpt.report.chart import Panel, Point
from kvgpt.report.drawing.forms import INK, PAPER, SHADE
from kvgpt.report.drawing.labels import on
from kvgpt.report.drawing.scales import drawable
from kvgpt.report.drawing.wording import number, shortened, wrapped
from kvgpt.report.looks import Look

SMALL = 0.06  # a share that has no room for its label
LABEL = 8.0  # points
BROAD = 12  # characters in a line of a label on a slice
APART = 0.22  # radii between two labels outside
OUT, INSIDE, OUTSIDE = 0.09, 0.62, 1.32  # radii: of pulled out slices and of labels
EDGE, HIGH = 1.95, 1.45  # radii: half the width and height of what is shown, at least


def paint(axes: Axes, panel: Panel, looks: Sequence[Look]) -> None:
    """Draw a panel of slices, clockwise from the top, on axes that have their place."""
    box = axes.get_window_extent()
    wide, high = max(EDGE, HIGH * box.width / box.height), max(HIGH, EDGE * box.height / box.width)
    axes.set(xlim=(-wide, wide), ylim=(-high, high))
    slices = [
        (point, series, look)
        for series, look in zip(panel.series, looks, strict=True)
        for point in (series.points if series.form == "slices" else ())
        if point.y > 0
    ]
    whole = sum(drawable(point.y) for point, _, _ in slices)
    outside, start = list[tuple[float, str]](), 90.0
    for point, series, look in slices:
        share = drawable(point.y) / whole
        end, middle = start - 360 * share, start - 180 * share
        small = share < SMALL
        centre = _at(middle, OUT if small else 0.0)
        colour = look.style.colour
        opacity = SHADE if series.faint else 1.0
        axes.add_patch(Wedge(centre, 1.0, end, start, facecolor=colour, edgecolor=PAPER, linewidth=1.0, alpha=opacity))
        if small:
            outside.append((middle, label(point, share, panel.y.label)))
        else:
            ink = INK if series.faint else on(colour)
            text = wrapped(label(point, share, panel.y.label), BROAD)
            axes.text(*_at(middle, INSIDE), text, ha="center", va="center", fontsize=LABEL, color=ink)
        start = end
    for one in spread(outside):
        _outside(axes, *one)
    axes.text(0, -high, shortened(panel.y.label, 60), ha="center", va="bottom", fontsize=LABEL)


def label(point: Point, share: float, of: str) -> str:
    """Its own, else the share and the value with the unit that ``of`` has in brackets."""
    if point.label:
        return shortened(point.label, 30)
    unit = re.search(r"\(([^()]*)\)", of)
    return f"{share:.1%}, {number(float(f'{point.y:.4g}'))} {shortened(unit[1], 12) if unit else ''}".rstrip()


def spread(labels: Sequence[tuple[float, str]]) -> list[tuple[float, str, float, float]]:
    """(angle, text, side, height) of labels outside, moved apart on each side of the pie."""
    found = []
    for side in (1.0, -1.0):
        here = sorted(
            (one for one in labels if (cos(radians(one[0])) >= 0) == (side > 0)), key=lambda one: -sin(radians(one[0]))
        )
        heights = [OUTSIDE * sin(radians(angle)) for angle, _ in here]
        for place in range(1, len(heights)):
            heights[place] = min(heights[place], heights[place - 1] - APART)
        found += [(angle, text, side, height) for (angle, text), height in zip(here, heights, strict=True)]
    return found


def _outside(axes: Axes, angle: float, text: str, side: float, height: float) -> None:
    axes.annotate(
        text,
        _at(angle, 1.0 + OUT),
        (side * 0.62, height),
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=LABEL,
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1},
    )


def _at(degrees: float, radius: float) -> tuple[float, float]:
    return radius * cos(radians(degrees)), radius * sin(radians(degrees))


def is_pie(panel: Panel) -> bool:
    return any(series.form == "slices" for series in panel.series)
