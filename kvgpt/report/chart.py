"""A chart as a description: what stands where, whose it is, and what it says.

Charts are worked out from results alone. ``drawing`` makes PNG and PDF of them, ``page`` draws them in a browser and
``points`` writes them as CSV, so all three show the same numbers, and a test reads a chart without a picture.
"""

from dataclasses import dataclass
from typing import Literal

from kvgpt.recorded import Case

Scale = Literal["linear", "log2", "log", "symlog", "names"]
Tone = Literal["good", "fair", "poor", "neutral"]
Form = Literal[
    "line",  # markers, joined
    "marks",  # markers alone
    "bars",  # side by side at each x, series by series
    "stack",  # bars upon one another, in the order of the series
    "slices",  # of a pie, a series each
    "fit",  # a thin curve without markers, through the measured range
    "projection",  # the same beyond it, dashed
    "band",  # between the points' low and high, shaded
    "region",  # a polygon through the points, shaded
    "spans",  # the same, filled: what went on from here to there
    "frontier",  # a dashed line without markers, nobody's
]


class Missing(Exception):
    """A chart's data are not in the results; the message says what would put them there."""


@dataclass(frozen=True)
class Point:
    """``x``, ``y``, ``low`` and ``high`` in the units of the axes; on an axis of names ``x`` is a place among them.

    ``label`` is printed at the point. ``length`` (T or context) and ``batch_size`` are what a reader filters by, and
    ``cases`` what was measured for it.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    length: int | None = None
    batch_size: int | None = None
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True)
class Series:
    """``name`` is what the legend says; the look is that of the ``variant``, or of the ``phase``, or a neutral one.

    ``metric`` is the record's name of what was measured, for the samples behind it. ``faint`` is drawn hollow, such as
    what is approximate.
    """

    name: str
    form: Form
    points: tuple[Point, ...]
    variant: str | None = None
    phase: str | None = None
    metric: str | None = None
    faint: bool = False
    in_legend: bool = True


@dataclass(frozen=True)
class Axis:
    """``low`` and ``high`` are None where the data decide; ``names`` are the categories of a scale of names, ``ticks``
    the places marked on another scale, where not any will do.
    """

    label: str
    scale: Scale = "linear"
    low: float | None = None
    high: float | None = None
    names: tuple[str, ...] = ()
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Zone:
    """A shaded range of one axis, from edge to edge of the other; None is the end of the axis."""

    axis: Literal["x", "y"]
    low: float | None
    high: float | None
    tone: Tone
    label: str = ""


@dataclass(frozen=True)
class Rule:
    """A dashed line across the panel at one value of an axis."""

    axis: Literal["x", "y"]
    at: float
    tone: Tone = "neutral"
    label: str = ""


@dataclass(frozen=True)
class Callout:
    """A short text with an arrow to a point of the data."""

    text: str
    x: float
    y: float
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Corner:
    """A text at a place of the panel, in fractions of its width and height from the lower left: names of quadrants."""

    text: str
    across: float
    up: float


@dataclass(frozen=True)
class Panel:
    """One pair of axes. A pie has axes too, which are not drawn: the y axis says what its slices add up to."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    zones: tuple[Zone, ...] = ()
    rules: tuple[Rule, ...] = ()
    callouts: tuple[Callout, ...] = ()
    corners: tuple[Corner, ...] = ()


@dataclass(frozen=True)
class Chart:
    """``name`` is that of its files, ``title`` what a reader calls it; ``insights`` are sentences worked out from the
    data, and nothing that was known beforehand.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    insights: tuple[str, ...] = ()
