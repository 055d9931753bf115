"""Charts of speedup: how many times as fast, from where on, and what an interval leaves of that."""

from dataclasses import replace

import pytest
import synthetic
from time_charts import (
    LAST,
    changed,
    drawn,
    figures,
    of_form,
    only,
    panel_of,
    said,
    total,
)

from kvgpt.report.chart import Missing
from kvgpt.report.charts import bars, curves, latency, speedup, versus
from kvgpt.report.charts.pairs import parted, speedups


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
