"""Where a text goes: the candidate that covers the least of what is there already. Plain geometry, in any unit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, hypot, radians, sin

import numpy as np
from numpy.typing import NDArray

Place = tuple[float, float]
Dots = NDArray[np.float64]  # (N, 2)

COVERED_TEXT, COVERED_DOT, AWAY = 1000.0, 1.5, 1.5  # what a candidate costs: a share, each, a text's height
DIRECTIONS = tuple(range(90, 450, 30))  # degrees, above first
HIDDEN_POINT = 500  # dots, as it were
BETWEEN = 40
DISTANCES = (2.0, 3.2, 4.8, 7.0, 10.0, 14.0, 19.0)  # in heights of a line


@dataclass(frozen=True)
class Box:
    """A rectangle with sides along the axes."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, centre: Place, width: float, height: float) -> "Box":
        x, y = centre
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def centre(self) -> Place:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)

    def inside(self, bounds: "Box") -> "Box":
        """The same box, moved as little as it takes to lie within the bounds; from their lower left where it cannot."""
        across = max(bounds.left - self.left, 0.0) or min(bounds.right - self.right, 0.0)
        up = max(bounds.bottom - self.bottom, 0.0) or min(bounds.top - self.top, 0.0)
        return Box(self.left + across, self.bottom + up, self.right + across, self.top + up)

    def grown(self, by: float) -> "Box":
        return Box(self.left - by, self.bottom - by, self.right + by, self.top + by)

    def shared(self, other: "Box") -> float:
        """The area of both."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    def holds(self, dots: Dots) -> int:
        """How many of the dots are in it."""
        x, y = dots.reshape(-1, 2).T
        return int(((x >= self.left) & (x <= self.right) & (y >= self.bottom) & (y <= self.top)).sum())


def around(anchor: Place, width: float, height: float, line: float) -> list[Box]:
    """Places for a text at some distance from its anchor, nearest first; ``line`` is the height of a line of text."""
    return [
        Box.around(
            (
                anchor[0] + cos(radians(degrees)) * (distance * line + width / 2),
                anchor[1] + sin(radians(degrees)) * (distance * line + height / 2),
            ),
            width,
            height,
        )
        for distance in DISTANCES
        for degrees in DIRECTIONS
    ]


def beside(anchor: Place, width: float, height: float, gap: float) -> list[Box]:
    """Places for a text that touches its anchor: to the upper right, above, below, and to the sides."""
    across, up = width / 2 + gap, height / 2 + gap
    steps = ((across, up), (0, up), (-across, up), (across, 0), (-across, 0), (across, -up), (0, -up), (-across, -up))
    return [Box.around((anchor[0] + x, anchor[1] + y), width, height) for x, y in steps]


def best(
    candidates: Iterable[Box], bounds: Box, taken: Sequence[Box], dots: Dots, pointing_to: Place | None = None
) -> Box:
    """The candidate, moved into the bounds, that covers the least of the texts and then of the dots, with its arrow to
    ``pointing_to``. The first of these that are equally good wins.
    """
    moved = [box.inside(bounds) for box in candidates]
    first = moved[0]

    def cost(box: Box) -> float:
        texts = sum(box.shared(other) for other in taken) / box.area if box.area else 0.0
        crossed = 0 if pointing_to is None else _crossed(box, pointing_to, taken, dots)
        away = hypot(box.centre[0] - first.centre[0], box.centre[1] - first.centre[1]) / ((box.top - box.bottom) or 1.0)
        return COVERED_TEXT * texts + COVERED_DOT * (box.holds(dots) + crossed) + AWAY * away

    return min(moved, key=cost)


def _crossed(box: Box, point: Place, taken: Sequence[Box], dots: Dots) -> int:
    """What an arrow from a box to a point goes over: dots of texts on its way, and of the data but near its tip. A box
    on the point itself has no arrow.
    """
    if box.grown((box.top - box.bottom) / 4).holds(np.array([point])):
        return HIDDEN_POINT
    arrow = np.array(between(box.centre, point))
    over = sum(other.holds(arrow) for other in taken)
    near = (box.top - box.bottom) / 2
    away = dots[np.hypot(*(dots - np.array(point)).T) > near]
    gaps = np.hypot(*(away[:, None] - arrow[None]).T).min(axis=0, initial=np.inf)
    return over + int((gaps < near / 4).sum())


def between(one: Place, other: Place, steps: int = BETWEEN) -> list[Place]:
    """Dots that stand for the stretch from one place to another."""
    shares = [step / steps for step in range(steps + 1)]
    return [(one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])) for share in shares]


def clusters(points: Sequence[Place], reach: float) -> list[list[int]]:
    """Which points stand so close to the first of a group that their labels would print over each other."""
    groups: list[list[int]] = []
    for number, point in enumerate(points):
        near = [
            group for group in groups if all(abs(a - b) <= reach for a, b in zip(point, points[group[0]], strict=True))
        ]
        if near:
            near[0].append(number)
        else:
            groups.append([number])
    return groups
