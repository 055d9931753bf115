"""What curves say, as sentences: how they grow, who is ahead, and what their intervals leave open."""

from collections import Counter
from collections.abc import Mapping
from itertools import chain, combinations

from kvgpt.recipes import REFERENCE
from kvgpt.report.chart import Missing, Point
from kvgpt.report.charts.curves import Curve, Curves, Quantity, interval
from kvgpt.report.charts.pairs import UNCACHED, speedups
from kvgpt.report.charts.phrases import listed, percent
from kvgpt.report.charts.series import equation
from kvgpt.report.fits import Fit

LEADING = {1: "slope", 2: "quadratic coefficient"}  # by degree
SAME = "1.00"  # a ratio that is told with two decimals


def fits_told(found: dict[str, Fit], of: Quantity) -> list[str]:
    """Each fit, and how the leading coefficient without a cache compares with that of the reference."""
    told = [f"{name}: {equation(one)}, residual {of.said(one.residual)}" for name, one in found.items()]
    open_ones = [name for name, one in found.items() if not one.leads]
    if open_ones:
        told.append(f"not told from zero: the {LEADING[of.degree]} of {listed(open_ones)}")
    pair = [found[name] for name in (UNCACHED, REFERENCE) if name in found]
    if len(pair) == 2 and all(one.leads and one.coefficients[0] > 0 for one in pair):
        times = pair[0].coefficients[0] / pair[1].coefficients[0]
        told.append(f"the {LEADING[of.degree]} of {UNCACHED} is {times:.3g} times that of {REFERENCE}")
    return told


def ranked(several: Curves, of: Quantity) -> list[str]:
    """All variants from best to worst, at the largest T that two of them were measured at."""
    last = _last_shared(several)
    if last is None:
        return []
    there = {name: curve[last].y for name, curve in several.items() if last in curve}
    order = sorted(there, key=there.__getitem__, reverse=of.most_is_best)
    each = ", ".join(f"{name} {of.said(there[name])}" for name in order)
    return [f"{of.noun} at T = {last:,}, from best to worst: {each}"]


def against(several: Curves, reference: str, who: tuple[str, ...] = ()) -> list[str]:
    """How many times as fast each variant (of ``who``, where given) is as the reference, at the largest T of both."""
    told = []
    for name in who or several:
        try:
            ratios = speedups(several, name, reference)
        except Missing:
            continue
        told += [as_fast(name, ratios[max(ratios)], reference)] if name != reference else []
    return told


def as_fast(name: str, ratio: Point, reference: str) -> str:
    """``v1 is 2.20x as fast as v0 at T = 1,024 (2.11x to 2.29x)``; of the slower one how many times as slow."""
    fast = ratio.y >= 1
    times = f"{ratio.y if fast else 1 / ratio.y:.2f}"
    where = f"as {'fast' if fast else 'slow'} as {reference} at T = {ratio.length:,}"
    return f"{name} is {where}, to within 1%" if times == SAME else f"{name} is {times}x {where}{_within(ratio)}"


def _within(ratio: Point) -> str:
    bounds = interval(ratio)
    if bounds is None or bounds[0] <= 0:
        return ""
    low, high = bounds if ratio.y >= 1 else (1 / bounds[1], 1 / bounds[0])
    return f" ({low:.2f}x to {high:.2f}x)"


def intervals_told(several: Curves) -> list[str]:
    """Which intervals overlap at the largest T that has two, how wide the widest is, and who has none."""
    spans = {
        name: {at: span for at, point in curve.items() if (span := interval(point))} for name, curve in several.items()
    }
    told, last = [], _last_shared(spans)
    if last is not None:
        there = {name: curve[last] for name, curve in spans.items() if last in curve}
        pairs = [f"{a} with {b}" for a, b in combinations(there, 2) if _overlap(there[a], there[b])]
        which = f"these intervals overlap: {'; '.join(pairs)}" if pairs else "no two intervals overlap"
        told.append(f"at T = {last:,} {which}")
    widths = {
        (name, at): (high - low) / several[name][at].y
        for name, curve in spans.items()
        for at, (low, high) in curve.items()
    }
    if widths:
        name, at = max(widths, key=widths.__getitem__)
        width = percent(widths[name, at]).lstrip("+")
        told.append(f"the widest interval is {width} of its value: {name} at T = {at:,}")
    without = [f"{name} at T = {at:,}" for name, curve in several.items() for at in curve if at not in spans[name]]
    return [*told, f"without an interval: {listed(without)}"] if without else told


def growth_told(curve: Curve, of: Quantity) -> list[str]:
    """From the smallest T to the largest, and over the last doubling that was measured."""
    first, last = min(curve), max(curve)
    told = [f"{of.noun}: {percent(curve[last].y / curve[first].y - 1)} from T = {first:,} to {last:,}"]
    doubled = max((length for length in curve if 2 * length in curve), default=None)
    if doubled is not None:
        times = curve[2 * doubled].y / curve[doubled].y
        told.append(f"the last doubling of T, from {doubled:,} to {2 * doubled:,}, takes {times:.2f}x as long")
    return told


def differences(several: Curves, of: Quantity) -> list[str]:
    """How much more or less each is than the reference, at the largest T that it shares with another."""
    reference = several.get(REFERENCE, {})
    others = {name: curve for name, curve in several.items() if name != REFERENCE}
    last = max((length for curve in others.values() for length in curve if length in reference), default=None)
    if last is None:
        return []
    each = [
        f"{name} {percent(curve[last].y / reference[last].y - 1)}" for name, curve in others.items() if last in curve
    ]
    return [f"{of.noun} against {REFERENCE} at T = {last:,}: {listed(each)}"]


def _last_shared(by_length: Mapping[str, Mapping[int, object]]) -> int | None:
    """The largest T that two of these have."""
    times = Counter(chain.from_iterable(by_length.values()))
    return max((length for length, often in times.items() if often > 1), default=None)


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]
