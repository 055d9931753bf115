"""The ground of a panel that texts are put on: pixels, what stands there, and what was written already."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.text import Text

from kvgpt.report.chart import Panel, Rule, Series
from kvgpt.report.drawing import placing
from kvgpt.report.drawing.forms import BARS, PAPER, Slot
from kvgpt.report.drawing.placing import Box, Dots, Place
from kvgpt.report.drawing.scales import drawable

EDGE = 4.0  # pixels that stay free inside the axes
SPARSE = 8  # one in so many dots of a bar: it is no harm to cover a part of it, but for its end
WEIGHTY = 4  # dots that a point counts as
FAR = 1e6  # pixels: where a logarithmic axis has what it has no place for


@dataclass
class Ground:
    """Axes that have their place. ``dots`` stand for what no text should cover, ``bars`` for the bars among it."""

    axes: Axes
    renderer: RendererAgg
    taken: list[Box] = field(default_factory=list)
    dots: Dots = field(default_factory=lambda: np.empty((0, 2)))
    bars: Dots = field(default_factory=lambda: np.empty((0, 2)))

    def __post_init__(self) -> None:
        box = self.axes.get_window_extent(self.renderer)
        self.origin, self.extent = (box.x0, box.y0), (box.width, box.height)
        self.bounds = Box(box.x0 + EDGE, box.y0 + EDGE, box.x1 - EDGE, box.y1 - EDGE)
        self.point = float(self.renderer.points_to_pixels(1.0))

    def pixels(self, x: float, y: float) -> Place:
        """Where a point of the data is."""
        with np.errstate(all="ignore"):
            place = self.axes.transData.transform((drawable(x), drawable(y)))
        across, up = np.nan_to_num(place, nan=-FAR, neginf=-FAR, posinf=FAR)
        return float(across), float(up)

    def share(self, place: Place) -> Place:
        """The same in shares of the axes, which hold in every format."""
        return (place[0] - self.origin[0]) / self.extent[0], (place[1] - self.origin[1]) / self.extent[1]

    def text(self, text: str, size: float, colour: str, style: str = "normal", rotation: float = 0) -> Text:
        """A text that is put somewhere later."""
        return self.axes.text(
            *(0.5, 0.5, text),
            transform=self.axes.transAxes,
            ha="center",
            va="center",
            fontsize=size,
            color=colour,
            style=style,
            rotation=rotation,
            zorder=5,
        )

    def size(self, text: Text) -> tuple[float, float]:
        box = text.get_window_extent(self.renderer)
        return box.width, box.height

    def put(self, text: Text, candidates: Sequence[Box], backed: bool = False) -> None:
        """Write where least is covered; ``backed`` lightens what is behind the text, if anything."""
        box = self.take(candidates)
        text.set_position(self.share(box.centre))
        if backed and box.holds(self.dots):
            text.set_bbox({"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 1.0})

    def take(self, candidates: Iterable[Box], pointing_to: Place | None = None) -> Box:
        """The best of the candidates, which no other text gets. What points to something has a frame, which hides a
        bar, and can go elsewhere.
        """
        dots = self.dots if pointing_to is None else np.vstack([self.dots, self.bars])
        box = placing.best(candidates, self.bounds, self.taken, dots, pointing_to)
        self.taken.append(box.grown(self.point))
        return box


def ground(axes: Axes, renderer: RendererAgg, panel: Panel, slots: Sequence[Sequence[Slot]]) -> Ground:
    """The ground of a panel that is drawn: its points, the lines between them, its bars and its rules."""
    made = Ground(axes, renderer)
    curves = [dot for series in panel.series for dot in _of_curve(made, series)]
    bars = [
        (slot, slot.foot + point.y)
        for series, here in zip(panel.series, slots, strict=True)
        for slot, point in zip(here, series.points, strict=True)
        if series.form in BARS
    ]
    bodies = [dot for bar in bars for dot in _of_body(made, *bar)]
    ends = [dot for bar in bars for dot in _of_end(made, *bar)]
    rules = [dot for rule in panel.rules for dot in _of_rule(made, rule)]
    made.dots, made.bars = _dots(curves + ends + bodies[::SPARSE] + rules), _dots(bodies)
    return made


def _dots(places: Sequence[Place]) -> Dots:
    return np.array(places, dtype=float).reshape(-1, 2)


def _of_curve(on: Ground, series: Series) -> list[Place]:
    places = [on.pixels(point.x, point.y) for point in series.points]
    if series.form in ("line", "fit", "projection", "frontier") and len(places) > 1:
        steps = max(2, placing.BETWEEN * 4 // len(places))
        joints = places * WEIGHTY if series.form == "line" else []
        return joints + [dot for one, other in pairwise(places) for dot in placing.between(one, other, steps)]
    return places * WEIGHTY if series.form in ("line", "marks") else []


def _of_body(on: Ground, slot: Slot, end: float) -> list[Place]:
    sides = (slot.x + side * slot.width / 2 for side in (-1, 0, 1))
    return [dot for x in sides for dot in placing.between(on.pixels(x, slot.foot), on.pixels(x, end))]


def _of_end(on: Ground, slot: Slot, end: float) -> list[Place]:
    left, right = (on.pixels(slot.x + side * slot.width / 2, end) for side in (-1, 1))
    return placing.between(left, right)[::SPARSE]


def _of_rule(on: Ground, rule: Rule) -> list[Place]:
    across, up = on.pixels(rule.at, rule.at)
    if rule.axis == "x":
        return placing.between((across, on.bounds.bottom), (across, on.bounds.top))
    return placing.between((on.bounds.left, up), (on.bounds.right, up))
