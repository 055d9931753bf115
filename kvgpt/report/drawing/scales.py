"""Axes: their limits, and where they are marked, with numbers as one reads them."""

from collections.abc import Callable, Sequence
from math import ceil, floor, log2, log10
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from kvgpt.report.chart import Axis
from kvgpt.report.drawing.wording import number, shortened

LARGEST = 1e300  # beyond it the arithmetic of an axis has no numbers
MOST_MARKS = 9
LOGARITHMIC = ("log", "log2")
BELOW = 0.06  # of the span, free below the values
APART = 1.4  # the least quotient of lengths that are both marked
DECADES = 5  # that a symlog axis has at most on each side of zero
LETTER, SPACE = 0.07, 0.08  # inches: of a digit, and between two numbers
NAME = 18  # characters of a name under an axis


def drawable(value: float) -> float:
    """A number that an axis can have."""
    return min(max(value, -LARGEST), LARGEST)


def limits(axis: Axis, values: Sequence[float], above: float = 0.06) -> tuple[float, float]:
    """The ends of an axis: its own, else a little beyond the values; ``above`` is the share left free at the top."""
    if axis.scale == "names":
        return -0.6, len(axis.names) - 0.4
    logarithmic = axis.scale in LOGARITHMIC
    known = [drawable(value) for value in values if value > 0 or not logarithmic]
    fixed = axis.low if axis.low is not None and (axis.low > 0 or not logarithmic) else None
    low = min(known, default=1.0) if fixed is None else fixed
    high = max([low, *known])
    lower, upper = PADDED[axis.scale](low, high, above)
    ends = (lower if fixed is None else fixed), (upper if axis.high is None else axis.high)
    return ends if ends[0] < ends[1] else (min(ends) - 1.0, max(ends) + 1.0)


def _padded(low: float, high: float, above: float) -> tuple[float, float]:
    span = high - low or abs(high) or 1.0
    from_zero = 0 <= low < high / 2
    return (0.0 if from_zero else low - BELOW * span), high + above * (high if from_zero and low > 0 else span)


def _padded_log(low: float, high: float, above: float) -> tuple[float, float]:
    span = max(log10(high) - log10(low), 0.15)
    return 10.0 ** max(log10(low) - BELOW * span, -300), 10.0 ** min(log10(high) + above * span, 300)


def _padded_symlog(low: float, high: float, above: float) -> tuple[float, float]:
    linear = threshold((low, high))
    decades = max(log10(max(high, -low, linear) / linear), 0.0) + 1.0
    factor = 10 ** min(above * decades, 3.0)
    return (factor * low if low < 0 else -0.3 * linear), factor * max(high, linear)


PADDED: dict[str, Callable[[float, float, float], tuple[float, float]]] = {
    "linear": _padded,
    "log": _padded_log,
    "log2": _padded_log,
    "symlog": _padded_symlog,
}


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
    factors = (1, 2, 5) if log10(high / low) <= 2.3 else (1,)
    marks = [factor * 10.0**power for power in range(first, last + 1, step) for factor in factors]
    return [mark for mark in marks if low <= mark <= high]


def around_zero(low: float, high: float, linear: float) -> list[float]:
    """Zero, and powers of ten of ``linear`` on both sides."""
    powers = [linear * 10.0**power for power in range(DECADES + 2)]
    return [mark for mark in [*(-power for power in reversed(powers)), 0.0, *powers] if low <= mark <= high]


def apart(marks: Sequence[float], ends: tuple[float, float], inches: float) -> list[float]:
    """Of the marks on a linear axis those whose numbers find room beside each other, the largest first."""
    shown: list[float] = []
    for mark in sorted(marks, reverse=True):
        if not shown or (shown[-1] - mark) / (ends[1] - ends[0]) * inches >= LETTER * len(number(shown[-1])) + SPACE:
            shown.append(mark)
    return shown[::-1]


def apply(
    axes: Axes,
    which: Literal["x", "y"],
    axis: Axis,
    ends: tuple[float, float],
    values: Sequence[float],
    inches: float = 1e3,
) -> None:
    """Scale, limits and marks of one of matplotlib's axes, which is about so many inches long."""
    across = which == "x"
    drawn, linear = axes.xaxis if across else axes.yaxis, threshold(values)
    set_scale, set_limits = (axes.set_xscale, axes.set_xlim) if across else (axes.set_yscale, axes.set_ylim)
    if axis.scale in LOGARITHMIC:
        set_scale("log", base=2 if axis.scale == "log2" else 10)
    elif axis.scale == "symlog":
        set_scale("symlog", linthresh=linear, linscale=0.6)
    set_limits(*ends)
    marks = _marks(axis, *ends, linear)
    marks = apart(marks, ends, inches) if axis.scale == "linear" else marks
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
