"""The roofline and the timeline: points under the ceilings of their run, the original's beside them, steps in order."""

from dataclasses import replace

import pytest
import rooflines
from rooflines import PEAKS, READ

from kvgpt.report import original_roofline as original
from kvgpt.report import publication
from kvgpt.report.chart import Missing
from kvgpt.report.charts import CHARTS, charts, roofline, timeline
from kvgpt.report.kinds import kind


def named(panel, name):
    return [series for series in panel.series if series.name == name]


def test_each_variant_and_phase_has_its_point_prefill_filled_and_decode_hollow():
    (panel,) = roofline.measured(rooflines.results()).panels
    marks = [series for series in panel.series if series.form == "marks"]
    places = {(one.variant, one.faint): [(point.x, point.y) for point in one.points] for one in marks}
    assert places == {
        (variant, faint): [place]
        for faint, place in ((False, (100.0, 500.0)), (True, (0.5, 40.0)))
        for variant in ("v0", "v1", "v2")
    }
    assert {one.variant: one.in_legend for one in marks if not one.faint} == dict.fromkeys(("v0", "v1", "v2"), True)
    assert not any(one.in_legend for one in marks if one.faint)
    assert [(one.variant, point.label) for one in marks for point in one.points if point.label] == [
        ("v1", "prefill"), ("v1", "decode")
    ]  # fmt: skip


def test_the_roof_is_the_bandwidth_at_the_working_set_up_to_the_rate_of_products():
    (panel,) = roofline.measured(rooflines.results()).panels
    (roof,) = named(panel, "roof")
    bandwidth, peak, ridge = READ[2**26], PEAKS["float32"], 10.0
    for point in roof.points:
        assert point.y * 1e9 == pytest.approx(min(bandwidth * point.x, peak))
    assert (ridge, peak / 1e9) in [(pytest.approx(point.x), point.y) for point in roof.points]
    (rule,) = panel.rules
    assert rule.at == ridge and rule.label == "ridge 10 FLOP/B"
    assert [(zone.low, zone.high, zone.label) for zone in panel.zones] == [
        (None, ridge, "memory bound"), (ridge, None, "compute bound")
    ]  # fmt: skip
    assert (panel.x.scale, panel.y.scale) == ("log", "log") and panel.x.low < 0.5 and panel.x.high > 100


def test_the_other_ceilings_are_the_caches_and_the_other_dtypes_alike_ones_once():
    (panel,) = roofline.measured(rooflines.results()).panels
    others = named(panel, "other ceilings")
    labels = [point.label for series in [*named(panel, "roof"), *others] for point in series.points if point.label]
    assert labels == ["100 GB/s, 64 to 256 MiB", "1 TFLOP/s, float32", "390 GB/s, 1 to 4 MiB", "4 TFLOP/s, bfloat16"]
    diagonal = others[0].points
    assert all(point.y * 1e9 == pytest.approx(READ[2**22] * point.x) for point in diagonal)
    assert {point.y for point in others[1].points} == {4000.0}


def test_a_small_working_set_has_the_roof_of_the_cache_that_holds_it():
    cases = [replace(one, details={**one.details, "working_set": 2**22}) for one in rooflines.points()]
    chart = roofline.measured(rooflines.results(*rooflines.ceilings(), *cases))
    assert chart.panels[0].rules[0].at == pytest.approx(1e12 / 390e9)
    assert any("4.19 MB is read at 390 GB/s" in line for line in chart.insights)


def test_no_mark_of_a_valid_point_is_above_the_roof():
    (panel,) = roofline.measured(rooflines.results(batches=(1, 8, 64))).panels
    for series in panel.series:
        for point in series.points if series.form == "marks" else ():
            assert point.y * 1e9 <= 1.03 * min(100e9 * point.x, 1e12)
    labels = {point.label for series in panel.series if series.form == "marks" for point in series.points}
    assert {"decode, B = 64", "prefill, B = 1"} <= labels


def test_it_says_how_much_of_the_roof_is_reached_and_what_is_not_valid():
    said = roofline.measured(rooflines.results(notes=("throttled",))).insights
    assert "of its roof, prefill: v0 50%, v1 50% and v2 50%" in said
    assert "of its roof, decode: v0 80%, v1 80% and v2 80%" in said
    assert any("not valid: throttled" in line for line in said)


def test_each_dtype_has_a_panel_under_its_own_rate():
    chart = roofline.measured(
        rooflines.results(*rooflines.ceilings(), *rooflines.points(), *rooflines.points(dtype="bfloat16"))
    )
    assert [panel.rules[0].at for panel in chart.panels] == [10.0, 40.0]


def test_bytes_that_a_processor_counted_are_compared():
    from kvgpt.record import metric

    (one, *rest) = rooflines.points()
    counted = replace(one, metrics={**one.metrics, "dram_bytes_counted": metric("dram_bytes_counted", 1.25e9)})
    said = roofline.measured(rooflines.results(*rooflines.ceilings(), counted, *rest)).insights
    assert any("counted by the processor: 1.25 to 1.25" in line for line in said)


@pytest.mark.parametrize(
    ("cases", "why"),
    [
        ([], "no point"),
        ([*rooflines.points()], "no ceiling"),
        ([next(rooflines.ceilings()), *rooflines.points(dtype="bfloat16")], "no rate of products in bfloat16"),
    ],
)
def test_without_points_or_ceilings_it_says_what_would_measure_them(cases, why):
    found = replace(rooflines.results(), cases=tuple(cases))
    with pytest.raises(Missing, match=why):
        roofline.measured(found)
    missing = [line for line in charts(found)[1] if line.startswith("roofline: ")]
    assert missing and "bench_roofline.py" in missing[0]


def test_a_record_with_another_form_of_ceilings_is_refused():
    (one, two), points = rooflines.ceilings(), [*rooflines.points()]
    broken = replace(one, details={"read": ["1"]})
    with pytest.raises(ValueError, match="no rates of blocks"):
        roofline.measured(rooflines.results(broken, two, *points))


def test_the_originals_points_stand_beside_as_published_and_as_they_must_have_been():
    chart = roofline.beside_original(rooflines.results())
    assert [panel.title for panel in chart.panels] == ["nano (shipped), float32, cpu", "the original, RTX A6000"]
    panel = chart.panels[1]
    hollow = [(one.variant, point.x, point.y) for one in panel.series if one.faint for point in one.points]
    assert hollow == [("v0", 1.57, 377.0), ("v1", 1.56, 375.0), ("v1", 0.51, pytest.approx(146.3))]
    for series in panel.series:
        for point in series.points if series.form == "marks" else ():
            assert point.y * 1e9 <= original.OWN.roof(point.x), "what was recomputed stays under the card's own roof"
    assert panel.rules[0].label == "ridge 201.6, published as 406.2"
    assert any("without any tensor-core operation" in line for line in chart.insights)


# the timeline


def test_a_step_is_drawn_span_by_span_by_kind_in_a_row_for_each_variant():
    whole, layer = timeline.timeline(rooflines.results()).panels
    assert whole.y.names == ("v2, 100 µs", "v1, 100 µs", "v0, 100 µs") and (whole.x.low, whole.x.high) == (0.0, 100.0)
    assert (layer.x.low, layer.x.high) == (37.5, 62.5)
    products = [series for series in whole.series if series.phase == "products"]
    assert [one.in_legend for one in products] == [True, False, False]
    lowest = products[0].points
    assert [point.x for point in lowest] == [
        x for start in (0.0, 25.0, 50.0, 75.0) for x in (start, start, start + 4, start + 4)
    ]
    assert {round(point.y, 2) for point in lowest} == {-0.29, 0.29}
    assert lowest[0].cases[0].variant == "v2" and not any(point.cases for point in lowest[1:])
    assert {point.x for series in layer.series for point in series.points} <= {*range(35, 65)} | {37.5, 62.5}


def test_neighbours_too_short_to_be_seen_are_drawn_as_one():
    (one, *_) = [case for case in rooflines.points(variants=("v1",)) if "trace" in case.details]
    trace = {**one.details["trace"], "spans": "0:0:40 0:50:40 0:300:700 2:1100:98900"}
    results = rooflines.results(replace(one, details={"trace": trace}))
    products = next(series for series in timeline.timeline(results).panels[0].series if series.phase == "products")
    assert [point.x for point in products.points] == [0.0, 0.0, 0.09, 0.09, 0.3, 0.3, 1.0, 1.0]


def test_it_says_how_many_operators_and_how_much_of_the_step_is_empty():
    said = timeline.timeline(rooflines.results()).insights
    assert "operators a token: v0 20, v1 20 and v2 20" in said
    assert "white, where torch was asked for nothing: v0 20%, v1 20% and v2 20%" in said


@pytest.mark.parametrize("spans", ["9:0:1", "0:0", "a:b:c", 7])
def test_a_record_with_another_form_of_a_trace_is_refused(spans):
    (one, *_) = [case for case in rooflines.points() if "trace" in case.details]
    broken = replace(one, details={"trace": {**one.details["trace"], "spans": spans}})
    with pytest.raises(ValueError, match="details of a trace"):
        timeline.timeline(rooflines.results(broken))


def test_kinds_are_told_by_names():
    names = {
        "linear": "products", "matmul": "products", "gemv2T_kernel_val": "products", "nvjet_tst_64x8": "products",
        "scaled_dot_product_attention": "attention", "flash_fwd_splitkv_kernel": "attention",
        "attend_int8": "attention",
        "copy_": "copies", "to": "copies", "embedding": "copies", "cat": "copies", "clone": "copies",
        "view": "views", "transpose": "views", "slice": "views", "unsqueeze": "views",
        "add": "elementwise", "layer_norm": "elementwise", "gelu": "elementwise", "linalg_vector_norm": "elementwise",
    }  # fmt: skip
    assert {name: kind(name) for name in names} == names


def test_the_report_has_all_three_under_their_names_with_their_points_and_tables(tmp_path):
    results = rooflines.results()
    made, _ = charts(results)
    assert [chart.name for chart in made] == ["roofline", "roofline_beside_the_original", "timeline"]
    publication.publish(results, tmp_path)
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert figures == {f"{chart.name}.{suffix}" for chart in made for suffix in ("png", "pdf")}
    assert {path.stem for path in (tmp_path / "points").iterdir()} == {chart.name for chart in made}
    assert {"where_time_goes.csv", "fuse_next.csv"} <= {path.name for path in (tmp_path / "tables").iterdir()}
    assert {"roofline", "roofline_beside_the_original", "timeline"} <= {listed.name for listed in CHARTS}
