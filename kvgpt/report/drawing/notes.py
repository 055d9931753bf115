"""Texts in a panel: names of corners, rules and zones, labels of points, callouts; each where it covers the least."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.text import Text

from kvgpt.report.chart import Callout, Panel, Rule, Zone
from kvgpt.report.colours import TONES
from kvgpt.report.drawing import placing
from kvgpt.report.drawing.forms import INK, PAPER, Slot
from kvgpt.report.drawing.placing import Box, Dots, Place
from kvgpt.report.drawing.scales import drawable
from kvgpt.report.drawing.wording import shortened, wrapped

SMALL, NORMAL = 7.5, 8.0  # points
NARROW = 26  # characters in a line of a callout
BARS = ("bars", "stack")


@dataclass
class Notes:
    """The texts of one panel, written after its axes have their places: all here is in pixels."""

    axes: Axes
    panel: Panel
    slots: Sequence[Sequence[Slot]]
    renderer: RendererAgg
    taken: list[Box] = field(default_factory=list)

    def __post_init__(self) -> None:
        box = self.axes.get_window_extent(self.renderer)
        self.bounds = Box(box.x0 + 2, box.y0 + 2, box.x1 - 2, box.y1 - 2)
        self.pixel = self.renderer.points_to_pixels(1.0)
        self.dots = self._dots()

    def write(self) -> None:
        """All of them, what has least choice first."""
        for corner in self.panel.corners:
            text = self._text(shortened(corner.text, 40), NORMAL, "#6B6B6B", style="italic")
            x = self.bounds.left + corner.across * (self.bounds.right - self.bounds.left)
            y = self.bounds.bottom + corner.up * (self.bounds.top - self.bounds.bottom)
            self._put(text, [Box.around((x, y), *self._size(text))])
        self._labels_of_bars()
        for rule in self.panel.rules:
            self._rule(rule)
        for zone in self.panel.zones:
            self._zone(zone)
        self._labels_of_marks()
        for callout in self.panel.callouts:
            self._callout(callout)

    def _rule(self, rule: Rule) -> None:
        at = self._pixels(rule.at, rule.at)[0 if rule.axis == "x" else 1]
        ends = (self.bounds.left, self.bounds.right) if rule.axis == "x" else (self.bounds.bottom, self.bounds.top)
        if not rule.label or not ends[0] - 3 <= at <= ends[1] + 3:
            return
        text = self._text(shortened(rule.label, 48), SMALL, TONES[rule.tone])
        width, height = self._size(text)
        if rule.axis == "y":
            ups, acrosses = (
                (at + height / 2 + 2, at - height / 2 - 2),
                (self.bounds.right - width / 2, self.bounds.left + width / 2),
            )
            places = [(across, up) for up in ups for across in acrosses]
        else:
            gap = width / 2 + 4
            places = [
                (at + side * gap, up)
                for up in (self.bounds.top - height / 2, self.bounds.bottom + height / 2)
                for side in (1, -1)
            ]
        self._put(text, [Box.around(place, width, height) for place in places])

    def _zone(self, zone: Zone) -> None:
        """Its name in one of its corners, where it is in view and large enough for one."""
        if not zone.label:
            return
        bounds, across = self.bounds, zone.axis == "x"
        start, end = (bounds.left, bounds.right) if across else (bounds.bottom, bounds.top)
        low, high = (
            otherwise if value is None else min(max(self._pixels(value, value)[0 if across else 1], start), end)
            for value, otherwise in ((zone.low, start), (zone.high, end))
        )
        box = Box(low, bounds.bottom, high, bounds.top) if across else Box(bounds.left, low, bounds.right, high)
        text = self._text(shortened(zone.label, 48), SMALL, TONES[zone.tone], style="italic")
        width, height = self._size(text)
        if width > box.right - box.left or height > box.top - box.bottom:
            text.remove()
            return
        corners = [
            Box.around((x, y), width, height)
            for y in (box.top - height / 2 - 1, box.bottom + height / 2 + 1)
            for x in (box.right - width / 2 - 2, box.left + width / 2 + 2, box.centre[0])
        ]
        self._put(text, corners)

    def _labels_of_bars(self) -> None:
        for series, slots in zip(self.panel.series, self.slots, strict=True):
            if series.form not in BARS:
                continue
            for point, slot in zip(series.points, slots, strict=True):
                if not point.label:
                    continue
                text = self._text(shortened(point.label, 30), SMALL, INK)
                width, height = self._size(text)
                room = self._pixels(slot.x + slot.width / 2, 0.0)[0] - self._pixels(slot.x - slot.width / 2, 0.0)[0]
                if width > 1.4 * room:
                    text.set_rotation(90)
                    width, height = self._size(text)
                top = slot.foot + drawable(point.y)
                if series.form == "stack":
                    low, high = (self._pixels(slot.x, value)[1] for value in (slot.foot, top))
                    if height > high - low:
                        text.remove()
                        continue
                    text.set_color(PAPER)
                    centre = self._pixels(slot.x, slot.x)[0], (low + high) / 2
                else:
                    below = top < 0
                    edge = point.low if below else point.high
                    x, y = self._pixels(slot.x, top if edge is None else drawable(edge))
                    centre = x, y + (-1 if below else 1) * (height / 2 + 2 * self.pixel)
                self._put(text, [Box.around(centre, width, height)])

    def _labels_of_marks(self) -> None:
        """Those of points that coincide are written once, one after the other."""
        labelled = [
            (shortened(point.label, 40), self._pixels(point.x, point.y))
            for series in self.panel.series
            if series.form not in (*BARS, "slices")
            for point in series.points
            if point.label
        ]
        for group in placing.clusters([place for _, place in labelled], 4 * self.pixel):
            text = self._text(", ".join(dict.fromkeys(labelled[number][0] for number in group)), SMALL, INK)
            self._put(text, placing.beside(labelled[group[0]][1], *self._size(text), 4 * self.pixel))

    def _callout(self, callout: Callout) -> None:
        colour = TONES[callout.tone]
        text = self._text(wrapped(callout.text, NARROW), NORMAL, colour)
        width, height = self._size(text)
        text.remove()
        pad = 3 * self.pixel
        x, y = self._pixels(callout.x, callout.y)
        bounds = self.bounds
        anchor = min(max(x, bounds.left), bounds.right), min(max(y, bounds.bottom), bounds.top)
        candidates = placing.around(anchor, width + 2 * pad, height + 2 * pad, NORMAL * self.pixel)
        box = placing.best(candidates, bounds, self.taken, self.dots, pointing_to=anchor)
        self.taken.append(box)
        self.axes.annotate(
            wrapped(callout.text, NARROW),
            self._share(anchor),
            self._share(box.centre),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha="center",
            va="center",
            fontsize=NORMAL,
            color=colour,
            bbox={
                "boxstyle": "round,pad=0.3",
                "facecolor": PAPER,
                "edgecolor": colour,
                "linewidth": 0.6,
                "alpha": 0.92,
            },
            arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 0.9, "shrinkA": 2, "shrinkB": 4},
            zorder=6,
        )

    def _text(self, text: str, size: float, colour: str, style: str = "normal") -> Text:
        return self.axes.text(
            0.5,
            0.5,
            text,
            transform=self.axes.transAxes,
            ha="center",
            va="center",
            fontsize=size,
            color=colour,
            style=style,
            zorder=5,
        )

    def _put(self, text: Text, candidates: Sequence[Box]) -> None:
        box = placing.best(candidates, self.bounds, self.taken, self.dots)
        self.taken.append(box)
        text.set_position(self._share(box.centre))

    def _size(self, text: Text) -> tuple[float, float]:
        box = text.get_window_extent(self.renderer)
        return box.width, box.height

    def _pixels(self, x: float, y: float) -> Place:
        """Where a point of the data is; what a logarithmic axis has no place for is at its end."""
        with np.errstate(all="ignore"):
            across, up = self.axes.transData.transform((drawable(x), drawable(y)))
        return float(np.nan_to_num(across, neginf=-1e6, posinf=1e6)), float(np.nan_to_num(up, neginf=-1e6, posinf=1e6))

    def _share(self, place: Place) -> Place:
        bounds = self.axes.get_window_extent(self.renderer)
        return (place[0] - bounds.x0) / bounds.width, (place[1] - bounds.y0) / bounds.height

    def _dots(self) -> Dots:
        """What texts had better not cover: points, the lines between them, and bars."""
        found: list[Place] = []
        for series, slots in zip(self.panel.series, self.slots, strict=True):
            places = [self._pixels(point.x, point.y) for point in series.points]
            if series.form in BARS:
                for slot, point in zip(slots, series.points, strict=True):
                    for x in (slot.x - slot.width / 2, slot.x, slot.x + slot.width / 2):
                        found += placing.between(
                            self._pixels(x, slot.foot), self._pixels(x, slot.foot + drawable(point.y))
                        )
            elif series.form == "marks" or len(places) < 2:
                found += places
            elif series.form not in ("band", "region"):
                found += [dot for one, other in pairwise(places) for dot in placing.between(one, other)]
        for rule in self.panel.rules:
            across, up = self._pixels(rule.at, rule.at)
            ends = ((across, self.bounds.bottom), (across, self.bounds.top))
            found += placing.between(*(ends if rule.axis == "x" else ((self.bounds.left, up), (self.bounds.right, up))))
        return np.array(found, dtype=float).reshape(-1, 2)
