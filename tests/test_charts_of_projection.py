"""Charts of latency beyond the measured lengths, and how far a fit is believed there."""

import pytest
import synthetic
from time_charts import AXES, LAST, changed, drawn, figures, of_form, only, panel_of, said, total

from kvgpt.report.charts import projection


@pytest.mark.parametrize("name", ["v0_v1_total_latency_projection", "comparison_extrapolation"])
def test_projections_go_on_from_the_measured_range_to_four_times_it(name):
    panel, chart = panel_of(name), drawn()[name]
    for variant, series in of_form(panel, "projection").items():
        assert series.points[0].x == LAST and series.points[-1].x == pytest.approx(4 * LAST)
        for point in series.points:
            assert point.y == pytest.approx(total(variant, point.x), rel=1e-9)
            assert point.length is None and point.cases == (), "nobody measured it"
        assert said(chart, f"{variant}, extrapolated: ", "T = 2,048", "T = 4,096")
        assert said(chart, f"{variant}: y = ", "residual")
    assert tuple(of_form(panel, "band")) == tuple(of_form(panel, "projection")) == AXES[name][4]
    assert [(zone.axis, zone.low, zone.high) for zone in panel.zones] == [("x", LAST, None)]
    later = total("v0", 2 * LAST) / total("v1", 2 * LAST)
    texts = {callout.text: callout for callout in panel.callouts}
    assert set(texts) == {"measured", "extrapolated", f"v1 is {later:.2f}x as fast as v0 at T = 2,048, extrapolated"}
    assert texts["measured"].x <= LAST < texts["extrapolated"].x
    assert texts["extrapolated"].y == pytest.approx(total("v0", 2 * LAST))
    assert said(chart, f"by their fits, v1 is {later:.2f}x as fast as v0 at T = 2,048", "more than the 2.23x")
    assert said(chart, "95% confidence", "Student's quantile")


def noisy(results):
    """The same with every third total 5% off, in turn above and below."""
    off = {length: (0.05, -0.05, 0.0)[place % 3] for place, length in enumerate(synthetic.LENGTHS)}
    return changed(
        results,
        lambda case: figures(
            case,
            total_latency=(case.value("total_latency") * (1 + off[case.workload["new_tokens"]]), None),
        ),
    )


def test_bands_of_noisy_projections_widen_and_stay_on_a_logarithmic_axis():
    panel = projection.all_variants(noisy(synthetic.results())).panels[0]
    for series in of_form(panel, "band").values():
        widths = [point.high - point.low for point in series.points if point.low > panel.y.low]
        assert widths == sorted(widths) and widths[0] > 1
    few = projection.all_variants(noisy(synthetic.results(lengths=(32, 64, 128, 192)))).panels[0]
    lows = [point.low for series in of_form(few, "band").values() for point in series.points]
    assert few.y.low > 0 and min(lows) == few.y.low, "one degree of freedom leaves room for anything"


def test_a_fit_that_falls_below_zero_is_not_drawn_there():
    def falling(case):
        length = case.workload["new_tokens"]
        return figures(case, total_latency=(1.0 + 0.004 * length - 4e-6 * length**2, None))

    chart = projection.all_variants(changed(only("v1", "v2"), falling))
    panel = chart.panels[0]
    for series in of_form(panel, "projection").values():
        assert series.points[-1].x < 2 * LAST and min(point.y for point in series.points) > 0
    assert said(chart, "v1: its fit falls below zero where it goes on")
    assert all(callout.y > 0 for callout in panel.callouts)


def test_a_projection_says_who_has_too_few_lengths():
    def short(case):
        return None if case.variant == "v0" and case.workload["new_tokens"] > 96 else case

    chart = projection.uncached_and_reference(changed(synthetic.results(), short))
    assert tuple(of_form(chart.panels[0], "projection")) == ("v1",)
    assert tuple(of_form(chart.panels[0], "line")) == ("v0", "v1")
    assert said(chart, "measured at fewer than 4 lengths: v0")
