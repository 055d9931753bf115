"""What was measured, as points in the units of an axis: along T, or a bar for each variant."""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite, nan

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Point, Series
from kvgpt.report.consistency.finding import size
from kvgpt.report.select import axis, by_variant

MEGA, GIGA, MILLI, PERCENT = 1e6, 1e9, 1e-3, 1e-2
PAIR = ("v0", REFERENCE)  # nothing is kept, and everything as it is: what a cache changes
SMALLEST, LARGEST = 1e-100, 1e100  # values whose ratios and sums are numbers too
MOST = 2**53  # the last count that a float tells from the next


def positive(results: Results, family: str, metric: str) -> list[Case]:
    """The cases of a family in which this metric is more than nothing, and a number that can be drawn."""
    return [case for case in results.of(family, metric) if SMALLEST < case.metrics[metric]["value"] < LARGEST]


def with_length(cases: Iterable[Case]) -> list[Case]:
    """Those that have a T, and no impossible number of sequences."""
    return [
        case for case in cases if (size(case, "new_tokens") or MOST) < MOST and (size(case, "batch_size") or 1) < MOST
    ]


def length_of(case: Case) -> int:
    return int(case.workload["new_tokens"])


def value_of(case: Case, metric: str) -> float:
    return float(case.metrics[metric]["value"])


def point(case: Case, metric: str, unit: float, x: float, label: str = "") -> Point:
    """A metric of a case at ``x``, in so many of ``unit``, with the bounds of its interval where they are known."""
    low, high = (bound / unit for bound in case.interval(metric) or (nan, nan))
    y = value_of(case, metric) / unit
    if isfinite(low) and isfinite(high):
        return stood(case, x, y, low, high, label)
    return stood(case, x, y, label=label)


def stood(
    case: Case, x: float, y: float, low: float | None = None, high: float | None = None, label: str = ""
) -> Point:
    """A point that stands for this case."""
    length, batch_size = size(case, "new_tokens", "context"), size(case, "batch_size")
    return Point(float(x), y, low, high, label, length, batch_size, (case,))


def overlap(one: Point, other: Point) -> bool:
    """Whether both intervals are known, and share a value."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def lengths(cases: Iterable[Case]) -> Axis:
    """The axis of T, marked where it was measured."""
    return Axis("new tokens T", "log2", ticks=tuple(map(float, axis(cases, "new_tokens"))))


def by_length(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """{variant: its cases by T}, of several at one T the first."""
    curves: dict[str, list[Case]] = {}
    for name, curve in by_variant(cases).items():
        first = {length_of(case): case for case in reversed(curve)}
        curves[name] = [first[length] for length in sorted(first)]
    return curves


def curves(cases: Iterable[Case], metric: str | None, place: Callable[[Case], Point]) -> tuple[Series, ...]:
    """A line for each variant; ``metric`` is None where the places are worked out from more than one figure."""
    return tuple(
        Series(name, "line", tuple(map(place, curve)), variant=name, metric=metric)
        for name, curve in by_length(cases).items()
    )


def one_each(cases: Iterable[Case]) -> dict[str, Case]:
    """{variant: the first of its cases}."""
    found: dict[str, Case] = {}
    for case in cases:
        found.setdefault(case.variant, case)
    return found


def bars(
    cases: Mapping[str, Case], metric: str, place: Callable[[Case, float], Point]
) -> tuple[Axis, tuple[Series, ...]]:
    """The axis of these variants' names, and a bar for each."""
    series = tuple(
        Series(name, "bars", (place(case, number),), variant=name, metric=metric, in_legend=False)
        for number, (name, case) in enumerate(cases.items())
    )
    return Axis("variant", "names", names=tuple(cases)), series
