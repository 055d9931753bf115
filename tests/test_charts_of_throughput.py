"""Charts of throughput, and bars of variants that keep a cache."""

from dataclasses import replace

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
    only,
    panel_of,
    said,
    total,
)

from kvgpt.recorded import Workload
from kvgpt.report.chart import Missing
from kvgpt.report.charts import bars, throughput


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


def test_more_rows_and_tokens_than_a_float_counts_are_no_rate():
    def odd(case):
        workload = Workload(dict(case.workload) | {"batch_size": 10**308}, "odd.json")
        return replace(figures(case, throughput=0.0), workload=workload)

    with pytest.raises(Missing, match="no throughput was measured"):
        throughput.throughput(changed(synthetic.results(), odd))
