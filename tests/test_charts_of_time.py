"""Charts of time: who is in each, at which points, under which fits, and that what they say is what the data say."""

from dataclasses import replace
from functools import cache
from math import isfinite

import pytest
import synthetic

from kvgpt.recorded import Workload
from kvgpt.report.chart import Missing
from kvgpt.report.charts import bars, charts, curves, latency, projection, single, speedup, throughput, versus
from kvgpt.report.charts.pairs import parted, speedups

ALL = tuple(synthetic.CURVES)
CACHED, OTHERS = ALL[1:], tuple(name for name in ALL if name != "v1")
LAST = synthetic.LENGTHS[-1]
T, TOTAL, PER_TOKEN, RATE = "new tokens T", "total latency (ms)", "per-token latency (ms)", "throughput (tokens/s)"
AXES = {  # name: (label and scale of x, label and scale of y, whose lines or bars)
    "comparison_per_token_latency": (T, "log2", PER_TOKEN, "linear", ALL),
    "comparison_per_token_latency_ci": (T, "log2", PER_TOKEN, "linear", ALL),
    "comparison_total_latency": (T, "log2", TOTAL, "linear", ALL),
    "comparison_total_latency_ci": (T, "log2", TOTAL, "linear", ALL),
    "comparison_v0_vs_v1_latency": (T, "linear", TOTAL, "linear", ("v0", "v1")),
    "v0_v1_total_latency_projection": (T, "log2", TOTAL, "log", ("v0", "v1")),
    "comparison_throughput": (T, "log2", RATE, "linear", ALL),
    "comparison_throughput_ci": (T, "log2", RATE, "linear", ALL),
    "comparison_speedup": (T, "log2", "speedup over v0", "linear", CACHED),
    "comparison_speedup_vs_v1": (T, "log2", "speedup over v1", "linear", OTHERS),
    "comparison_kv_variants_latency": (T, "log2", TOTAL, "linear", CACHED),
    "kv_variants_per_token_bar_T1024": ("variant", "names", PER_TOKEN, "linear", CACHED),
    "kv_variants_throughput_bar_T1024": ("variant", "names", RATE, "linear", CACHED),
    "comparison_extrapolation": (T, "log2", TOTAL, "log", ALL),
    **{f"latency_total_vs_T_{name}": (T, "log2", TOTAL, "linear", (name,)) for name in ALL},
    **{f"latency_per_token_vs_T_{name}": (T, "log2", PER_TOKEN, "linear", (name,)) for name in ALL},
}


def total(variant, length):
    return 1e3 * synthetic.total(variant, length)


VALUES = {  # y axis: what a variant has at a T
    TOTAL: total,
    PER_TOKEN: lambda variant, length: total(variant, length) / length,
    RATE: lambda variant, length: 1e3 * length / total(variant, length),
    "speedup over v0": lambda variant, length: total("v0", length) / total(variant, length),
    "speedup over v1": lambda variant, length: total("v1", length) / total(variant, length),
}


@cache
def drawn():
    made, _ = charts(synthetic.results())
    return {chart.name: chart for chart in made}


def panel_of(name):
    (panel,) = drawn()[name].panels
    return panel


def of_form(panel, form):
    return {series.variant: series for series in panel.series if series.form == form}


def said(chart, *parts):
    """The only insight that has all these parts."""
    (found,) = [sentence for sentence in chart.insights if all(part in sentence for part in parts)]
    return found


def changed(results, change):
    """Results with each latency case replaced by what ``change`` makes of it, or without it where that is None."""
    cases = [change(case) if case.family == "latency" else case for case in results.cases]
    return replace(results, cases=tuple(case for case in cases if case is not None))


def figures(case, **values):
    """A case with other figures: a value, or a pair of it and its interval, which is None where there is none."""
    metrics = {name: dict(figure) for name, figure in case.metrics.items()}
    for name, told in values.items():
        metrics[name]["value"], interval = told if isinstance(told, tuple) else (told, metrics[name].get("interval"))
        metrics[name].pop("interval", None)
        metrics[name] |= {} if interval is None else {"interval": interval}
    return replace(case, metrics=metrics)


def only(*variants, **options):
    return synthetic.results(variants=variants, **options)


def test_every_name_of_the_original_is_drawn():
    assert set(AXES) <= set(drawn())


@pytest.mark.parametrize("name", AXES)
def test_axes_and_variants_are_the_original_s(name):
    panel, (x, x_scale, y, y_scale, who) = panel_of(name), AXES[name]
    assert (panel.x.label, panel.x.scale, panel.y.label, panel.y.scale) == (x, x_scale, y, y_scale)
    assert tuple(of_form(panel, "bars" if x_scale == "names" else "line")) == who
    assert panel.x.names == (who if x_scale == "names" else ())
    assert panel.title.startswith("gpt2-medium (pretrained), bfloat16, cuda, B = 1")


@pytest.mark.parametrize("name", [name for name in AXES if AXES[name][1] != "names"])
def test_points_stand_where_they_were_measured(name):
    value = VALUES[AXES[name][2]]
    for variant, series in of_form(panel_of(name), "line").items():
        assert [point.x for point in series.points] == list(synthetic.LENGTHS)
        assert [point.length for point in series.points] == list(synthetic.LENGTHS)
        expected = [value(variant, length) for length in synthetic.LENGTHS]
        assert [point.y for point in series.points] == pytest.approx(expected, rel=1e-12)
        assert {point.batch_size for point in series.points} == {1}
        assert all(case.family == "latency" for point in series.points for case in point.cases)


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
    assert said(chart, "v1: y = ", "its slope cannot be told from zero")
    assert not any("times that of" in sentence for sentence in chart.insights)


@pytest.mark.parametrize(
    "name", ["comparison_per_token_latency", "comparison_total_latency", "comparison_v0_vs_v1_latency"]
)
def test_the_speed_of_v1_over_v0_is_told(name):
    ratio = total("v0", LAST) / total("v1", LAST)
    bounds = f"({ratio * 0.98 / 1.02:.2f}x to {ratio * 1.02 / 0.98:.2f}x)"
    assert said(drawn()[name], f"v1 is {ratio:.2f}x as fast as v0 at T = 1,024") == (
        f"v1 is {ratio:.2f}x as fast as v0 at T = 1,024 {bounds}"
    )


def test_who_is_slower_is_called_slower():
    ratio = total("v2", LAST) / total("v1", LAST)
    assert said(drawn()["comparison_kv_variants_latency"], f"v2 is {ratio:.2f}x as slow as v1 at T = 1,024")
    swapped = changed(
        synthetic.results(), lambda case: replace(case, variant={"v0": "v1", "v1": "v0"}.get(case.variant))
    )
    chart = versus.uncached_and_reference(swapped)
    assert said(chart, "v1 is 2.23x as slow as v0")
    assert chart.panels[0].callouts[0].text == "2.23x as slow at T = 1,024"
    assert chart.panels[0].callouts[0].tone == "poor"
    assert said(chart, "v1 is slower from T = 192 on")
    assert said(chart, "4.059 s less at T = 1,024")


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


def test_bounds_of_throughput_are_the_quotients_of_those_of_time():
    point = of_form(panel_of("comparison_throughput"), "line")["v1"].points[0]
    time = total("v1", 32)
    assert (point.low, point.high) == pytest.approx((32e3 / (1.02 * time), 32e3 / (0.98 * time)))


def test_throughput_that_no_record_states_is_all_rows_tokens_over_the_total():
    def silent(case):
        return replace(case, metrics={key: told for key, told in case.metrics.items() if key != "throughput"})

    chart = throughput.throughput(changed(synthetic.results(batches=(8,)), silent))
    point = of_form(chart.panels[0], "line")["v1"].points[0]
    assert point.y == pytest.approx(8 * 32e3 / total("v1", 32))


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


def test_a_cache_and_none_part_where_their_intervals_do():
    met = [n for n in synthetic.LENGTHS if 0.98 * total("v0", n) <= 1.02 * total("v1", n)]
    assert met == [64, 96, 128], "apart at 32, and then not"
    panel, chart = panel_of("comparison_v0_vs_v1_latency"), drawn()["comparison_v0_vs_v1_latency"]
    (rule,) = panel.rules
    assert (rule.axis, rule.at, rule.label) == ("x", 192, "apart from T = 192 on")
    assert said(chart, "v1 is faster from T = 192 on")
    (callout,) = panel.callouts
    assert (callout.text, callout.x, callout.tone) == ("2.23x as fast at T = 1,024", LAST, "good")
    assert callout.y == pytest.approx(total("v1", LAST))


def test_variants_that_meet_again_part_after_that():
    def met(case):
        if case.variant == "v1" and case.workload["new_tokens"] == 512:
            seconds = synthetic.total("v0", 512)
            return figures(case, total_latency=(seconds, [0.98 * seconds, 1.02 * seconds]))
        return case

    (found,) = curves.curves(changed(only("v0", "v1"), met), curves.TOTAL).values()
    assert parted(speedups(found, "v1", "v0")) == 576


def test_variants_that_overlap_at_the_end_never_part():
    (found,) = curves.curves(only("v3", "v3a"), curves.TOTAL).values()
    assert parted(speedups(found, "v3", "v3a")) is None


def test_a_crossing_is_no_parting():
    def crossed(case):
        factor = 2.0 if case.variant == "v3" and case.workload["new_tokens"] >= 512 else 0.5
        seconds = synthetic.total("v3", case.workload["new_tokens"]) * (factor if case.variant == "v3" else 1.0)
        return figures(case, total_latency=(seconds, [0.98 * seconds, 1.02 * seconds]))

    (found,) = curves.curves(changed(only("v3", "v3a"), crossed), curves.TOTAL).values()
    assert parted(speedups(found, "v3", "v3a")) == 512


@pytest.mark.parametrize(("name", "reference"), [("comparison_speedup", "v0"), ("comparison_speedup_vs_v1", "v1")])
def test_a_speedup_is_a_quotient_and_its_bounds_are_quotients_of_bounds(name, reference):
    panel, chart = panel_of(name), drawn()[name]
    (rule,) = panel.rules
    assert (rule.axis, rule.at, rule.label) == ("y", 1.0, reference)
    for variant, series in of_form(panel, "line").items():
        for point in series.points:
            ratio = total(reference, point.length) / total(variant, point.length)
            assert (point.low, point.high) == pytest.approx((ratio * 0.98 / 1.02, ratio * 1.02 / 0.98))
            assert {case.variant for case in point.cases} == {variant, reference}
        assert said(chart, f"{variant} is ", f"as {reference} at T = 1,024", "at T = 32")
    assert said(chart, "quotients of the bounds of both times")


def test_bars_are_of_the_usual_length_and_say_how_far_they_are_from_the_reference():
    for name in ("kv_variants_per_token_bar_T1024", "kv_variants_throughput_bar_T1024"):
        panel, value = panel_of(name), VALUES[AXES[name][2]]
        for place, (variant, series) in enumerate(of_form(panel, "bars").items()):
            (point,) = series.points
            assert (point.x, point.length) == (place, LAST)
            assert point.y == pytest.approx(value(variant, LAST))
            change = 100 * (value(variant, LAST) / value("v1", LAST) - 1)
            if variant != "v1":
                assert point.label.endswith("%") and float(point.label[:-1]) == pytest.approx(change, rel=0.01)
        (rule,) = panel.rules
        assert (rule.label, rule.at) == ("v1", pytest.approx(value("v1", LAST)))
        assert said(drawn()[name], "against v1 at T = 1,024: v2 ")


def test_bars_are_of_the_largest_length_where_the_usual_one_was_not_measured():
    shorter = synthetic.results(lengths=(32, 64, 256))
    assert bars.per_token(shorter).name == "kv_variants_per_token_bar_T256"
    assert bars.throughput(shorter).name == "kv_variants_throughput_bar_T256"
    longer = synthetic.results(lengths=(512, 1024, 2048))
    assert bars.per_token(longer).name == "kv_variants_per_token_bar_T1024"


def test_bars_without_the_reference_show_values_and_name_who_is_absent():
    def short(case):
        return None if case.variant == "v4" and case.workload["new_tokens"] == LAST else case

    chart = bars.per_token(changed(only("v0", "v2", "v4"), short))
    (series,) = [series for series in chart.panels[0].series if series.form == "bars"]
    assert series.variant == "v2" and series.points[0].label == "6.591 ms"
    assert chart.panels[0].rules == ()
    assert said(chart, "not measured at T = 1,024: v4")


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


def test_each_batch_size_has_a_panel_and_sentences_that_name_it():
    made, missing = charts(synthetic.results(lengths=(32, 64), batches=(1, 8)))
    by_name = {chart.name: chart for chart in made}
    chart = by_name["comparison_throughput"]
    assert [panel.title[-5:] for panel in chart.panels] == ["B = 1", "B = 8"]
    assert {point.batch_size for series in chart.panels[1].series for point in series.points} == {8}
    assert of_form(chart.panels[1], "line")["v1"].points[0].y == pytest.approx(8 * 32e3 / total("v1", 32))
    assert all(sentence.startswith(("B = 1: ", "B = 8: ")) for sentence in chart.insights)
    assert "kv_variants_per_token_bar_T64" in by_name
    assert of_form(by_name["comparison_total_latency"].panels[0], "fit") == {}, "two lengths have no quadratic"
    absent = {line.split(": ")[0]: line for line in missing if line.startswith(("comparison_ex", "v0_v1_total"))}
    assert set(absent) == {"comparison_extrapolation", "v0_v1_total_latency_projection"}
    for line in absent.values():
        assert "a fit of total latency needs 4 lengths, and 2 were measured: pytest benchmarks/bench_latency.py" in line


@pytest.mark.parametrize(
    "make",
    [
        latency.total,
        latency.per_token_intervals,
        latency.cached,
        throughput.throughput,
        speedup.over_uncached,
        versus.uncached_and_reference,
        projection.all_variants,
        lambda results: single.total(results, "v1"),
    ],
)
def test_one_length_is_no_curve(make):
    with pytest.raises(Missing, match="a curve needs two lengths, and one was measured"):
        make(synthetic.results(lengths=(64,)))


@pytest.mark.parametrize(
    ("make", "variant", "why"),
    [
        (speedup.over_uncached, "v1", "no latency of v0 was measured"),
        (speedup.over_uncached, "v0", "nothing but v0 was measured"),
        (speedup.over_reference, "v0", "no latency of v1 was measured"),
        (versus.uncached_and_reference, "v1", "no latency of v0 was measured"),
        (versus.uncached_and_reference, "v2", "no total latency was measured"),
        (latency.cached, "v0", "no total latency was measured"),
        (bars.per_token, "v0", "no per-token latency was measured"),
    ],
)
def test_a_comparison_says_whom_it_lacks(make, variant, why):
    with pytest.raises(Missing, match=why):
        make(only(variant))


def test_a_variant_that_was_not_measured_has_no_chart_of_its_own():
    with pytest.raises(Missing, match="no total latency was measured"):
        single.total(only("v1"), "v0")
    _, missing = charts(only("v1"))
    assert any(line.startswith("latency_total_vs_T_v0: ") for line in missing)
    assert not any("_vs_T_device" in line for line in missing), "a probe of the device is nobody's latency"


def test_variants_at_no_length_in_common_are_not_compared():
    def split(case):
        return case if (case.workload["new_tokens"] > 256) == (case.variant == "v0") else None

    with pytest.raises(Missing, match="v1 and v0 were measured at no length in common"):
        versus.uncached_and_reference(changed(only("v0", "v1"), split))


def test_one_subject_without_a_comparison_does_not_cost_the_others_theirs():
    def fewer(case):
        return None if case.variant == "v0" and case.workload["batch_size"] == 8 else case

    chart = versus.uncached_and_reference(changed(synthetic.results(batches=(1, 8)), fewer))
    assert len(chart.panels) == 1
    assert said(chart, "B = 8: no latency of v0 was measured")


def test_a_case_that_is_not_valid_is_drawn_and_named():
    def throttled(case):
        odd = case.variant == "v1" and case.workload["new_tokens"] == 256
        return replace(case, valid=False, notes=("the clock fell",)) if odd else case

    chart = latency.total(changed(synthetic.results(), throttled))
    assert said(chart, "v1 is drawn, but not valid at T = 256: the clock fell")


def test_what_no_clock_shows_is_left_out():
    odd = {32: 0.0, 64: -1.0, 96: 1e308, 128: 1e-300}

    def broken(case):
        seconds = odd.get(case.workload["new_tokens"]) if case.variant == "v1" else None
        return case if seconds is None else figures(case, total_latency=(seconds, None))

    chart = latency.total(changed(synthetic.results(), broken))
    assert [point.length for point in of_form(chart.panels[0], "line")["v1"].points] == list(synthetic.LENGTHS[4:])


@pytest.mark.parametrize("variant", ["=1+1", "<b>x</b>\n", "pkg.mod:Class+cla2", "transformers-dynamic", "{T}"])
def test_a_stranger_s_name_is_a_name_like_any_other(variant):
    renamed = changed(
        synthetic.results(), lambda case: replace(case, variant=variant if case.variant == "v4" else case.variant)
    )
    made, _ = charts(renamed)
    names = {chart.name: chart for chart in made}
    assert {f"latency_total_vs_T_{variant}", f"latency_per_token_vs_T_{variant}"} <= set(names)
    assert variant in of_form(names["comparison_kv_variants_latency"].panels[0], "line")
    assert variant in names["kv_variants_per_token_bar_T1024"].panels[0].x.names


def test_records_that_leave_out_what_a_title_says_are_drawn_under_the_rest():
    def older(case):
        kept = {name: value for name, value in case.workload.items() if name not in ("dtype", "weights", "model")}
        return replace(case, workload=Workload(kept, "older.json"))

    assert latency.total(changed(synthetic.results(), older)).panels[0].title == "an unnamed model, cuda, B = 1"


@pytest.mark.parametrize("bounds", [[2.0, 1.0], [1.0, 0.0], [1.0, 1e308], [0.0, 0.0], [-1e308, 1e308]])
def test_bounds_that_are_no_interval_end_no_chart(bounds):
    def odd(case):
        odd_one = case.variant in ("v0", "v1") and case.workload["new_tokens"] == LAST
        return figures(case, total_latency=(case.value("total_latency"), bounds)) if odd_one else case

    made, _ = charts(changed(synthetic.results(), odd))
    assert len(made) == len(drawn())
    assert said(made[2], "v1 is 2.23x as fast as v0").endswith("T = 1,024"), "no bounds of a ratio without them"
    points = [point for chart in made for panel in chart.panels for series in panel.series for point in series.points]
    assert all(isfinite(bound) for point in points for bound in (point.low, point.high) if bound is not None)


def test_more_rows_and_tokens_than_a_float_counts_are_no_rate():
    def odd(case):
        workload = Workload(dict(case.workload) | {"batch_size": 10**308}, "odd.json")
        return replace(figures(case, throughput=0.0), workload=workload)

    with pytest.raises(Missing, match="no throughput was measured"):
        throughput.throughput(changed(synthetic.results(), odd))


def test_lengths_beyond_any_are_left_out():
    def odd(case):
        length = case.workload["new_tokens"]
        lengths = {32: 0, 64: -64, 96: 10**300}
        workload = Workload(dict(case.workload) | {"new_tokens": lengths.get(length, length)}, "odd.json")
        return replace(case, workload=workload)

    chart = latency.total(changed(synthetic.results(), odd))
    assert panel_lengths(chart) == list(synthetic.LENGTHS[3:])


def panel_lengths(chart):
    return [point.length for point in of_form(chart.panels[0], "line")["v1"].points]


def test_of_two_cases_at_one_length_the_first_counts():
    results = synthetic.results()
    slower = changed(results, lambda case: figures(case, total_latency=9.0))
    both = replace(results, cases=(*results.cases, *slower.cases))
    assert latency.total(both).panels == latency.total(results).panels


def test_charts_of_the_same_results_are_the_same():
    assert charts(synthetic.results()) == charts(synthetic.results())
