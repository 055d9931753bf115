"""Fits: coefficients come back, what cannot be known is absent, and an interval holds what it says it holds."""

import numpy as np
import pytest
import synthetic

from kvgpt.report.fits import fit
from kvgpt.statistics import student_quantile

LENGTHS = [float(length) for length in synthetic.LENGTHS]


def curve(a, b, c, lengths=LENGTHS):
    return [a * x**2 + b * x + c for x in lengths]


@pytest.mark.parametrize(("variant", "coefficients"), synthetic.CURVES.items())
def test_the_coefficients_of_a_quadratic_come_back(variant, coefficients):
    found = fit(LENGTHS, curve(*coefficients), 2)
    assert found.coefficients == pytest.approx(coefficients, rel=1e-9)
    assert found.r_squared == pytest.approx(1.0)
    assert found.residual < 1e-9
    assert found.at(2048.0) == pytest.approx(curve(*coefficients, [2048.0])[0], rel=1e-9)
    assert (found.low, found.high) == (32.0, 1024.0)


def test_a_line_worked_out_by_hand_has_its_residual_and_share_of_variance():
    found = fit([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 1.0, 2.0], 1)  # y = 0.6 x + 0.1, and 0.2 of squares left of 2
    assert found.coefficients == pytest.approx((0.6, 0.1))
    assert found.residual == pytest.approx((0.2 / 4) ** 0.5)
    assert found.r_squared == pytest.approx(0.9)
    middle = (
        4.302653 * (0.1 * (1 + 1 / 4)) ** 0.5
    )  # at the mean of x: Student's 2 degrees, the error of one and of the mean
    assert found.predicted(1.5) == pytest.approx((1.0 - middle, 1.0 + middle), rel=1e-6)
    slope = 4.302653 * (0.1 / 5) ** 0.5
    assert found.bounds[0] == pytest.approx((0.6 - slope, 0.6 + slope), rel=1e-6)
    assert not found.leads, "a slope whose interval holds zero"


def test_a_slope_beyond_its_error_leads():
    assert fit([0.0, 1.0, 2.0, 3.0], [0.0, 1.1, 1.9, 3.0], 1).leads


@pytest.mark.parametrize(
    ("coefficients", "equation"),
    [
        ((0.00478, 2.27, 30.46), "y = 0.00478·T² + 2.27·T + 30.46"),
        ((0.0000578, 3.17, 1.06), "y = 0.0000578·T² + 3.17·T + 1.06"),
        ((-0.5, -2.0, -12345.678), "y = -0.5·T² - 2·T - 12350"),
        ((1e-7, 2e6, 1.0), "y = 1e-07·T² + 2e+06·T + 1"),
    ],
)
def test_an_equation_reads_as_it_is_written_by_hand(coefficients, equation):
    assert fit(LENGTHS, curve(*coefficients), 2).equation == equation


@pytest.mark.parametrize("degree", [1, 2])
def test_too_few_points_have_no_fit(degree):
    enough = degree + 2
    assert fit(LENGTHS[:enough], curve(1.0, 2.0, 3.0)[:enough], degree) is not None
    assert fit(LENGTHS[: enough - 1], curve(1.0, 2.0, 3.0)[: enough - 1], degree) is None
    assert fit([32.0] * 9, list(map(float, range(9))), degree) is None, "one length measured nine times is one length"
    assert fit([], [], degree) is None


@pytest.mark.parametrize("value", [0.0, 3.2, -1e300])
def test_constant_data_have_no_share_of_variance_and_no_slope(value):
    found = fit(LENGTHS, [value] * len(LENGTHS), 1)
    assert found.r_squared is None
    assert found.coefficients[0] == 0.0
    assert found.coefficients[1] == pytest.approx(value)
    assert not found.leads


def test_numbers_near_the_largest_float_are_fitted_without_a_warning():
    found = fit([1.0, 2.0, 3.0, 4.0], [1e308, 1.1e308, 1.0e308, 1.2e308], 1)
    assert np.isfinite([*found.coefficients, found.residual, found.r_squared]).all()


def test_nineteen_of_twenty_predictions_beyond_the_range_hold_what_is_measured_there():
    random, held, runs = np.random.default_rng(0), 0, 2000
    for _ in range(runs):
        noise = random.normal(scale=5.0, size=len(LENGTHS) + 1)
        there = curve(0.005, 2.0, 30.0, [2048.0])[0] + noise[-1]
        low, high = fit(LENGTHS, curve(0.005, 2.0, 30.0) + noise[:-1], 2).predicted(2048.0)
        held += low <= there <= high
    assert abs(held / runs - 0.95) < 4 * (0.95 * 0.05 / runs) ** 0.5  # four standard errors of the share itself


def test_an_interval_is_wider_further_out():
    random = np.random.default_rng(0)
    found = fit(LENGTHS, curve(0.0, 2.0, 30.0) + random.normal(size=len(LENGTHS)), 2)
    widths = [high - low for low, high in map(found.predicted, (512.0, 1024.0, 2048.0, 4096.0))]
    assert widths == sorted(widths)
    assert widths[-1] > 4 * widths[0]


@pytest.mark.parametrize(
    ("freedom", "published"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (10_000, 1.960)],
)
def test_quantiles_of_student_are_the_published_ones(freedom, published):
    assert student_quantile(freedom) == pytest.approx(published, rel=1e-3)
