"""Texts in a panel: names of its corners, rules and zones, labels, callouts; those with the least choice come first."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg

from kvgpt.report.chart import Callout, Corner, Panel, Rule, Zone
from kvgpt.report.colours import TONES
from kvgpt.report.drawing import labels, placing
from kvgpt.report.drawing.forms import PAPER, Slot
from kvgpt.report.drawing.ground import Ground, ground
from kvgpt.report.drawing.placing import Box
from kvgpt.report.drawing.wording import shortened, wrapped
from kvgpt.report.looks import Look

SMALL, NORMAL = 7.5, 8.0  # points
LONGEST, NARROW = 48, 26  # characters: of a name, and in a line of a callout
QUIET = "#6B6B6B"


def write(
    axes: Axes, renderer: RendererAgg, panel: Panel, looks: Sequence[Look], slots: Sequence[Sequence[Slot]]
) -> None:
    """Write all of them on axes that have their place."""
    on = ground(axes, renderer, panel, slots)
    for corner in panel.corners:
        _corner(on, corner)
    labels.at_bars(on, panel, slots)
    labels.in_stacks(on, panel, looks, slots)
    for rule in panel.rules:
        _rule(on, rule)
    for zone in panel.zones:
        _zone(on, zone)
    labels.at_marks(on, panel)
    for callout in sorted(panel.callouts, key=lambda one: -one.y):  # the highest first, as a text goes above its point
        _callout(on, callout)


def _corner(on: Ground, corner: Corner) -> None:
    text = on.text(shortened(corner.text, LONGEST), NORMAL, QUIET, style="italic")
    x = on.bounds.left + corner.across * (on.bounds.right - on.bounds.left)
    y = on.bounds.bottom + corner.up * (on.bounds.top - on.bounds.bottom)
    on.put(text, [Box.around((x, y), *on.size(text))])


def _rule(on: Ground, rule: Rule) -> None:
    """Its name at one of its ends, on either side."""
    across = rule.axis == "x"
    at = on.pixels(rule.at, rule.at)[0 if across else 1]
    bounds = on.bounds
    low, high = (bounds.left, bounds.right) if across else (bounds.bottom, bounds.top)
    if not rule.label or not low <= at <= high:
        return
    text = on.text(shortened(rule.label, LONGEST), SMALL, TONES[rule.tone])
    width, height = on.size(text)
    if across:
        ends = (bounds.top - height / 2, bounds.bottom + height / 2)
        places = [(at + side * (width / 2 + 4), end) for end in ends for side in (1, -1)]
    else:
        ends = (bounds.right - width / 2, bounds.left + width / 2)
        places = [(end, at + side * (height / 2 + 3)) for side in (1, -1) for end in ends]
    on.put(text, [Box.around(place, width, height) for place in places], backed=True)


def _zone(on: Ground, zone: Zone) -> None:
    """Its name in one of its corners, where what is in view of it has room for one."""
    if not zone.label:
        return
    box = _in_view(on, zone)
    text = on.text(shortened(zone.label, LONGEST), SMALL, TONES[zone.tone], style="italic")
    width, height = on.size(text)
    if width > box.right - box.left or height > box.top - box.bottom:
        text.remove()
        return
    ups = (box.top - height / 2 - 1, box.bottom + height / 2 + 1)
    acrosses = (box.right - width / 2 - 2, box.left + width / 2 + 2, box.centre[0])
    on.put(text, [Box.around((x, y), width, height) for y in ups for x in acrosses], backed=True)


def _in_view(on: Ground, zone: Zone) -> Box:
    bounds, across = on.bounds, zone.axis == "x"
    start, end = (bounds.left, bounds.right) if across else (bounds.bottom, bounds.top)
    low, high = (
        edge if value is None else min(max(on.pixels(value, value)[0 if across else 1], start), end)
        for value, edge in ((zone.low, start), (zone.high, end))
    )
    return Box(low, bounds.bottom, high, bounds.top) if across else Box(bounds.left, low, bounds.right, high)


def _callout(on: Ground, callout: Callout) -> None:
    """A text in a frame, and an arrow to its point: to the edge, where the point is out of view."""
    words, colour = wrapped(callout.text, NARROW), TONES[callout.tone]
    measured = on.text(words, NORMAL, colour)
    width, height = (side + 6 * on.point for side in on.size(measured))
    measured.remove()
    x, y = on.pixels(callout.x, callout.y)
    bounds = on.bounds
    point = min(max(x, bounds.left), bounds.right), min(max(y, bounds.bottom), bounds.top)
    box = on.take(placing.around(point, width, height, NORMAL * on.point), pointing_to=point)
    on.dots = np.vstack([on.dots, placing.between(box.centre, point)])  # no other arrow is to cross this one
    on.axes.annotate(
        words,
        on.share(point),
        on.share(box.centre),
        xycoords="axes fraction",
        textcoords="axes fraction",
        ha="center",
        va="center",
        fontsize=NORMAL,
        color=colour,
        bbox={"boxstyle": "round,pad=0.3", "facecolor": PAPER, "edgecolor": colour, "linewidth": 0.6, "alpha": 0.92},
        arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 0.9, "shrinkA": 2, "shrinkB": 4},
        zorder=6,
    )
