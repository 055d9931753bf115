"""Charts of latency: fits, bands of intervals, and who is ahead."""

import pytest
import synthetic
from time_charts import ALL, AXES, LAST, VALUES, changed, drawn, figures, of_form, only, panel_of, said, total

from kvgpt.report.chart import Missing
from kvgpt.report.charts import charts, latency, single, throughput, versus


@pytest.mark.parametrize("name", ["comparison_total_latency", "v0_v1_total_latency_projection"])
def test_ticks_are_powers_of_two_where_lengths_stand_close(name):
    assert panel_of(name).x.ticks[:6] == (32, 64, 128, 256, 512, 1024)
    few = latency.total(synthetic.results(lengths=(48, 96, 160)))
    assert few.panels[0].x.ticks == (48, 96, 160)


@pytest.mark.parametrize(("name", "degree"), [("comparison_total_latency", 2), ("comparison_per_token_latency", 1)])
def test_fits_lie_under_all_and_stay_in_the_measured_range(name, degree):
    fits = of_form(panel_of(name), "fit")
    assert tuple(fits) == ALL
    for series in fits.values():
        assert not series.in_legend
        assert series.points[0].x == 32 and series.points[-1].x == pytest.approx(LAST)
        xs, ys = [point.x for point in series.points], [point.y for point in series.points]
        assert curvature(xs, ys) == (degree == 2)


def curvature(xs, ys):
    """Whether slopes differ along a curve."""
    slopes = [(ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k]) for k in range(len(xs) - 1)]
    return max(slopes) - min(slopes) > 1e-6 * max(map(abs, slopes))


@pytest.mark.parametrize(
    ("variant", "equation"),
    [("v0", "y = 0.00478·T² + 2.27·T + 30.46"), ("v1", "y = 0.0000578·T² + 3.17·T + 1.06")],
)
def test_a_single_variant_has_its_equation_in_the_legend_and_in_words(variant, equation):
    chart = drawn()[f"latency_total_vs_T_{variant}"]
    (series,) = of_form(chart.panels[0], "fit").values()
    assert series.in_legend and series.name == f"{variant}: {equation} (R² = 1.0000)"
    assert said(chart, equation, "R² = 1.0000", "residual")
    grown = total(variant, 1024) / total(variant, 512)
    assert said(chart, "the last doubling of T, from 512 to 1,024").endswith(f"{grown:.2f}x as long")


def test_the_quadratic_coefficients_of_v0_and_v1_are_compared():
    assert said(drawn()["comparison_total_latency"], "quadratic coefficient of v0 is").endswith("82.7 times that of v1")
    assert said(drawn()["comparison_per_token_latency"], "the slope of v0 is", "times that of v1")


def test_a_slope_that_is_noise_is_not_compared():
    def flat(case):
        noise = 1 + 0.01 * (-1) ** case.workload["new_tokens"].bit_count()
        return figures(case, per_token_latency=0.003 * noise) if case.variant == "v1" else case

    chart = latency.per_token(changed(synthetic.results(), flat))
    assert said(chart, "not told from zero") == "not told from zero: the slope of v1"
    assert not any("times that of" in sentence for sentence in chart.insights)


def test_variants_are_ranked_from_best_to_worst():
    for name in ("comparison_total_latency", "comparison_throughput"):
        sentence = said(drawn()[name], "from best to worst")
        order = [part.split(" ")[0] for part in sentence.split(": ")[1].split(", ")]
        assert order == sorted(ALL, key=lambda variant: total(variant, LAST))


def test_variants_are_ranked_where_two_of_them_were_measured():
    def short(case):
        return None if case.variant != "v3" and case.workload["new_tokens"] == LAST else case

    short_of_one = changed(synthetic.results(), short)
    assert said(latency.total(short_of_one), "from best to worst").startswith("total latency at T = 896, ")
    assert said(latency.total_intervals(short_of_one), "overlap").startswith("at T = 896 ")


@pytest.mark.parametrize("name", [name for name in AXES if name.endswith("_ci")])
def test_bands_hold_the_intervals(name):
    panel, value = panel_of(name), VALUES[AXES[name][2]]
    bands = of_form(panel, "band")
    assert tuple(bands) == ALL
    for variant, series in bands.items():
        for point in series.points:
            rounds = sorted(value(variant, point.length) * factor for factor in (0.98, 1.02, 1 / 0.98, 1 / 1.02))
            assert point.low == pytest.approx(rounds[0], rel=1e-3) and point.high == pytest.approx(rounds[-1], rel=1e-3)
    sentence = said(drawn()[name], "these intervals overlap")
    assert sentence == "at T = 1,024 these intervals overlap: v2 with v4; v2 with v4a; v3 with v3a; v4 with v4a"
    assert said(drawn()[name], "the widest interval is 4% of its value")


def test_a_length_without_an_interval_is_in_no_band_and_is_named():
    def without(case):
        times = case.workload["new_tokens"] != 256 or case.variant != "v0"
        return case if times else figures(case, total_latency=(case.value("total_latency"), None))

    results = changed(synthetic.results(lengths=(64, 128, 256, 512)), without)
    chart = latency.total_intervals(results)
    runs = [
        [point.length for point in series.points]
        for series in chart.panels[0].series
        if series.form == "band" and series.variant == "v0"
    ]
    assert runs == [[64, 128], [512]]
    assert [point.length for point in of_form(chart.panels[0], "line")["v0"].points] == [64, 128, 256, 512]
    assert said(chart, "without an interval: v0 at T = 256")


def test_without_any_interval_there_is_no_chart_of_intervals():
    def without(case):
        return figures(
            case,
            total_latency=(case.value("total_latency"), None),
            per_token_latency=(case.value("per_token_latency"), None),
        )

    results = changed(synthetic.results(lengths=(64, 128)), without)
    for make in (latency.total_intervals, latency.per_token_intervals, throughput.throughput_intervals):
        with pytest.raises(Missing, match="has an interval, which takes 6 samples or more"):
            make(results)
    chart = versus.uncached_and_reference(results)
    assert chart.panels[0].rules == ()
    assert said(chart, "without intervals of both nobody can say")


def test_a_variant_that_was_not_measured_has_no_chart_of_its_own():
    with pytest.raises(Missing, match="no total latency was measured"):
        single.total(only("v1"), "v0")
    _, missing = charts(only("v1"))
    assert any(line.startswith("latency_total_vs_T_v0: ") for line in missing)
    assert not any("_vs_T_device" in line for line in missing), "a probe of the device is nobody's latency"
