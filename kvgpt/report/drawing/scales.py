"""Axes: their limits, and where they are marked, with numbers as one reads them."""

from collections.abc import Sequence
from math import ceil, floor, log2, log10
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from kvgpt.report.chart import Axis
from kvgpt.report.drawing.wording import number, shortened

LARGEST = 1e300  # beyond it the arithmetic of an axis has no numbers
MOST_MARKS = 9
APART = 1.4  # the least quotient of lengths that are both marked
DECADES = 5  # that a symlog axis has at most on each side of zero
NAME = 18  # characters of a name under an axis


def drawable(value: float) -> float:
    """A number that an axis can have."""
    return min(max(value, -LARGEST), LARGEST)


def limits(axis: Axis, values: Sequence[float], above: float = 0.06) -> tuple[float, float]:
    """The ends of an axis: its own, else a little beyond the values; ``above`` is the share left free at the top."""
    if axis.scale == "names":
        return -0.6, len(axis.names) - 0.4
    known = [drawable(value) for value in values]
    if axis.scale in ("log", "log2"):
        known = [value for value in known if value > 0]
    low, high = _padded(axis, min(known, default=1.0), max(known, default=1.0), above)
    low = low if axis.low is None or (axis.scale in ("log", "log2") and axis.low <= 0) else axis.low
    high = high if axis.high is None else axis.high
    return (low, high) if low < high else (min(low, high) - 1.0, max(low, high) + 1.0)


def _padded(axis: Axis, low: float, high: float, above: float) -> tuple[float, float]:
    if axis.scale in ("log", "log2"):
        span = max(log10(high) - log10(low), 0.15)
        return 10 ** max(log10(low) - 0.06 * span, -300), 10 ** min(log10(high) + above * span, 300)
    if axis.scale == "symlog":
        return (1.6 * low if low < 0 else -0.15 * threshold((low, high))), (max(high, 0.0) or 1.0) * (1 + 25 * above)
    span = high - low or abs(high) or 1.0
    from_zero = 0 <= low < high / 2
    return (0.0 if from_zero else low - 0.06 * span), high + above * (high if from_zero else span)


def threshold(values: Sequence[float]) -> float:
    """Up to where a symlog axis is linear: the power of ten below all that is not zero, some decades at most."""
    sizes = [abs(drawable(value)) for value in values if value]
    if not sizes:
        return 1.0
    return float(10.0 ** max(floor(log10(min(sizes))), ceil(log10(max(sizes))) - DECADES))


def lengths_marked(values: Sequence[float]) -> list[float]:
    """Of the lengths measured those that find room on a logarithmic axis: powers of two first."""
    powers = [value for value in values if value > 0 and log2(value).is_integer()]
    shown = powers[:: ceil(len(powers) / MOST_MARKS)] if powers else []
    for value in values:
        if value > 0 and len(shown) < MOST_MARKS and all(max(value / one, one / value) >= APART for one in shown):
            shown.append(value)
    return sorted(shown)


def decades(low: float, high: float) -> list[float]:
    """Powers of ten between two positive ends, and 2 and 5 times them where there are few; empty where that is none."""
    first, last = floor(log10(low)), ceil(log10(high))
    step = max(1, ceil((last - first) / MOST_MARKS))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    marks = [factor * 10.0**power for power in range(first, last + 1, step) for factor in factors]
    return [mark for mark in marks if low <= mark <= high]


def around_zero(low: float, high: float, linear: float) -> list[float]:
    """Zero, and powers of ten of ``linear`` on both sides."""
    powers = [linear * 10.0**power for power in range(DECADES + 2)]
    return [mark for mark in [*(-power for power in reversed(powers)), 0.0, *powers] if low <= mark <= high]


def apply(axes: Axes, which: Literal["x", "y"], axis: Axis, ends: tuple[float, float], values: Sequence[float]) -> None:
    """Scale, limits and marks of one of matplotlib's axes."""
    across = which == "x"
    drawn, linear = axes.xaxis if across else axes.yaxis, threshold(values)
    set_scale, set_limits = (axes.set_xscale, axes.set_xlim) if across else (axes.set_yscale, axes.set_ylim)
    if axis.scale in ("log", "log2"):
        set_scale("log", base=2 if axis.scale == "log2" else 10)
    elif axis.scale == "symlog":
        set_scale("symlog", linthresh=linear, linscale=0.6)
    set_limits(*ends)
    marks = _marks(axis, *ends, linear)
    if len(marks) < 2 and not axis.names and not axis.ticks:
        drawn.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        drawn.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    else:
        names = axis.scale == "names"
        drawn.set_major_locator(FixedLocator(marks))
        drawn.set_major_formatter(
            FixedFormatter([shortened(name, NAME) for name in axis.names] if names else list(map(number, marks)))
        )
    drawn.set_minor_locator(NullLocator())


def _marks(axis: Axis, low: float, high: float, linear: float) -> list[float]:
    if axis.scale == "names":
        return [float(place) for place in range(len(axis.names))]
    if axis.scale == "log2":
        return lengths_marked(axis.ticks or [2.0**power for power in range(ceil(log2(low)), floor(log2(high)) + 1)])
    if axis.ticks:
        return list(axis.ticks)
    if axis.scale == "log":
        return decades(low, high)
    return around_zero(low, high, linear) if axis.scale == "symlog" else []
