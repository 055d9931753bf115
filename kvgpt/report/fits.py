"""Polynomials through measured points by least squares, and how far they are to be believed beyond these."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from kvgpt.statistics import student_quantile

POWERS = ("", "·T", "·T²")
ROUNDING = 1e-12  # of the largest y: a coefficient that moves no y by more is none
PLAIN = (1e-6, 1e6)  # magnitudes that an equation writes without an exponent


@dataclass(frozen=True)
class Fit:
    """``coefficients`` from the highest power down to the constant, and a square ``root`` of their covariance.

    ``residual`` is the root mean square of what the polynomial leaves, in the unit of y, and ``error`` the same per
    degree of ``freedom``. ``r_squared`` is None where all y are one number, so that there is no variance to explain.
    ``low`` and ``high`` are the ends of the measured range.
    """

    coefficients: tuple[float, ...]
    root: tuple[tuple[float, ...], ...]
    residual: float
    error: float
    freedom: int
    r_squared: float | None
    low: float
    high: float

    def at(self, x: float) -> float:
        return sum(value * power for value, power in zip(self.coefficients, self._powers(x), strict=True))

    def predicted(self, x: float) -> tuple[float, float]:
        """The 95% prediction interval of one more measurement at ``x``: Student's quantile times the error of one and
        of the curve together, both from the residuals. It holds where the data do follow the polynomial, with normal
        errors of one size.
        """
        of_the_curve = np.array(self._powers(x)) @ np.array(self.root)
        reach = student_quantile(self.freedom) * hypot(self.error, *of_the_curve)
        return self.at(x) - reach, self.at(x) + reach

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The 95% interval of each coefficient."""
        reaches = [student_quantile(self.freedom) * hypot(*row) for row in self.root]
        return tuple((value - reach, value + reach) for value, reach in zip(self.coefficients, reaches, strict=True))

    @property
    def leads(self) -> bool:
        """Whether the coefficient of the highest power can be told from zero."""
        low, high = self.bounds[0]
        return low > 0 or high < 0

    @property
    def equation(self) -> str:
        """``y = 0.00478·T² + 2.27·T + 30.46``."""
        first, *others = zip(self.coefficients, reversed(POWERS[: len(self.coefficients)]), strict=True)
        text = f"y = {_number(first[0])}{first[1]}"
        for value, power in others:
            text += f" {'-' if value < 0 else '+'} {_number(abs(value))}{power}"
        return text

    def _powers(self, x: float) -> list[float]:
        return [x**power for power in reversed(range(len(self.coefficients)))]


def fit(x: Sequence[float], y: Sequence[float], degree: int) -> Fit | None:
    """The polynomial of this degree, 1 or 2; None where there are no more than ``degree + 1`` different x, which any
    polynomial passes through.
    """
    count = degree + 1
    if len(set(x)) <= count:
        return None
    reach, size = float(np.abs(x).max()), float(np.abs(y).max()) or 1.0
    powers, values = np.vander(np.array(x) / reach, count), np.array(y) / size  # of order 1: nothing overflows
    orthogonal, triangle = np.linalg.qr(powers)
    inverse = np.linalg.inv(triangle)
    solved = inverse @ (orthogonal.T @ values)
    solved[np.abs(solved) < ROUNDING] = 0.0
    left, spread = float(((values - powers @ solved) ** 2).sum()), float(((values - values.mean()) ** 2).sum())
    freedom, constant = len(values) - count, float(np.ptp(values)) == 0.0
    error, back = sqrt(left / freedom), size / reach ** np.arange(degree, -1, -1)
    return Fit(
        coefficients=tuple(map(float, solved * back)),
        root=tuple(tuple(map(float, row)) for row in error * back[:, None] * inverse),
        residual=size * sqrt(left / len(values)),
        error=size * error,
        freedom=freedom,
        r_squared=None if constant else 1 - left / spread,
        low=float(min(x)),
        high=float(max(x)),
    )


def _number(value: float) -> str:
    """Four digits, without an exponent where there are few zeros."""
    rounded = float(f"{value:.4g}")
    if rounded and not PLAIN[0] <= abs(rounded) < PLAIN[1]:
        return f"{rounded:g}"
    return np.format_float_positional(rounded, trim="-")
