"""The straight line through a curve: what each token adds."""

from dataclasses import replace

import numpy as np

from kvgpt.report import fits
from kvgpt.report.chart import Point, Series

SMOOTH = 33  # points that a line is drawn through: it is bent where T is logarithmic


def straight(curve: Series) -> fits.Fit | None:
    """None where the curve has too few points to say how straight it is."""
    return fits.fit([point.x for point in curve.points], [point.y for point in curve.points], 1)


def fitted(curve: Series, in_legend: bool) -> tuple[Series, ...]:
    """The points alone and the line through their range, named by its equation; the curve as it is without a fit."""
    fit = straight(curve)
    if fit is None:
        return (curve,)
    points = tuple(Point(x, fit.at(x)) for x in map(float, np.geomspace(fit.low, fit.high, SMOOTH)))
    name = f"{curve.name}: {equation(fit)}"
    line = Series(name, "fit", points, variant=curve.variant, in_legend=in_legend)
    return replace(curve, form="marks"), line


def equation(fit: fits.Fit) -> str:
    """``y = 0.029·T + 770.1 (R² = 0.9936)``."""
    return fit.equation if fit.r_squared is None else f"{fit.equation} (R² = {fit.r_squared:.4f})"
