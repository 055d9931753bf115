"""Points of which less is better in both coordinates: those that none beats, and the region that these leave behind."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from kvgpt.report.chart import Point

Name = TypeVar("Name")


def beats(one: Point, other: Point) -> bool:
    """Whether ``one`` is no worse in either, and better in one."""
    return one.x <= other.x and one.y <= other.y and (one.x, one.y) != (other.x, other.y)


def unbeaten(points: Mapping[Name, Point]) -> dict[Name, Point]:
    """Those that no other beats, from the least x."""
    best = {name: one for name, one in points.items() if not any(beats(other, one) for other in points.values())}
    return dict(sorted(best.items(), key=lambda named: (named[1].x, named[1].y)))


def edge(best: Iterable[Point]) -> tuple[Point, ...]:
    """The line through them, of places alone, each of them once."""
    return tuple(Point(x, y) for x, y in dict.fromkeys((point.x, point.y) for point in best))


def behind(line: Sequence[Point], right: float, top: float) -> tuple[Point, ...]:
    """The corners of the region that such a line beats, as far as ``right`` and ``top``: down to it, along it in steps,
    and back around.
    """
    steps = [corner for before, after in pairwise(line) for corner in (Point(after.x, before.y), after)]
    return (Point(line[0].x, top), line[0], *steps, Point(right, line[-1].y), Point(right, top))
