"""What all charts of time have in common: who is in each, at which points, and what becomes of odd results."""

from dataclasses import replace
from math import isfinite

import pytest
import synthetic
from time_charts import (
    AXES,
    LAST,
    VALUES,
    changed,
    drawn,
    figures,
    of_form,
    panel_of,
    said,
    total,
)

from kvgpt.recorded import Workload
from kvgpt.report.chart import Missing
from kvgpt.report.charts import charts, latency, projection, single, speedup, throughput, versus


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
