"""Curves as what is drawn of them: lines, the bands of their intervals, and fits."""

from collections.abc import Collection
from dataclasses import replace
from itertools import groupby

import numpy as np

from kvgpt.report.chart import Point, Series
from kvgpt.report.charts.curves import Curves, Quantity
from kvgpt.report.fits import Fit, fit

SMOOTH = 33  # points that a curve is drawn through


def lines(several: Curves, metric: str | None = None) -> tuple[Series, ...]:
    return tuple(
        Series(name, "line", tuple(curve.values()), variant=name, metric=metric) for name, curve in several.items()
    )


def bands(several: Curves) -> tuple[Series, ...]:
    """A band for each run of lengths whose intervals are known: none bridges a length without one."""
    return tuple(
        Series(f"{name}, 95% interval", "band", tuple(run), variant=name, in_legend=False)
        for name, curve in several.items()
        for known, run in groupby(curve.values(), lambda point: point.low is not None)
        if known
    )


def fits(several: Curves, of: Quantity) -> dict[str, Fit]:
    """{variant: the fit of its curve}, of the variants that have points enough."""
    found = {name: fitted(curve.values(), of.degree) for name, curve in several.items()}
    return {name: one for name, one in found.items() if one is not None}


def fitted(points: Collection[Point], degree: int) -> Fit | None:
    return fit([point.x for point in points], [point.y for point in points], degree)


def fit_lines(found: dict[str, Fit], in_legend: bool = False) -> tuple[Series, ...]:
    """Each fit through the range that it was measured in, named by its equation."""
    return tuple(
        Series(f"{name}: {equation(one)}", "fit", sampled(one, one.low, one.high), variant=name, in_legend=in_legend)
        for name, one in found.items()
    )


def with_line(curve: Series, in_legend: bool) -> tuple[Series, ...]:
    """The points alone and the straight line through them; the curve as it is where these are too few for one."""
    line = fitted(curve.points, 1)
    return (curve,) if line is None else (replace(curve, form="marks"), *fit_lines({curve.name: line}, in_legend))


def sampled(one: Fit, low: float, high: float) -> tuple[Point, ...]:
    """Points of a fit, evenly apart on a logarithmic axis, with their prediction intervals."""
    return tuple(Point(x, one.at(x), *one.predicted(x)) for x in map(float, np.geomspace(low, high, SMOOTH)))


def equation(one: Fit) -> str:
    """``y = 0.00443·T + 2.56 (R² = 0.9967)``."""
    return one.equation if one.r_squared is None else f"{one.equation} (R² = {one.r_squared:.4f})"
