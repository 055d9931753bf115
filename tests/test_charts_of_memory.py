"""Charts of memory: whose points are where, what the lines through them say, and what each variant saves."""

from dataclasses import replace

import pytest
import synthetic
from reshaped import HOSTILE, STRANGER, elsewhere, having, joined, less, renamed, with_figures

from kvgpt import costs
from kvgpt.config import GPTConfig
from kvgpt.recipes import Variant
from kvgpt.record import metric
from kvgpt.report.chart import Missing
from kvgpt.report.charts import charts, memory, saving, tradeoff

EVERY = tuple(synthetic.CURVES)
MAKERS = {
    "KEY_comparison_vram": memory.key,
    "comparison_vram": memory.compared,
    "vram_growth_v0_v1": memory.growth,
    "vram_bar_chart": saving.every_variant,
    "comparison_memory_efficiency": memory.efficiency,
    "kv_variants_vram_bar_T1024": saving.cached_variants,
    "vram_vs_T_v2": lambda results: memory.single(results, "v2"),
}


@pytest.fixture(scope="module")
def results():
    return synthetic.results()


def cache(variant, length, batch=1):
    config = GPTConfig.preset(synthetic.MODEL)
    return costs.cache_bytes(config, Variant.parse(variant), batch, length, synthetic.DTYPE) / 1e6


def peak(variant, length, batch=1):
    shared = GPTConfig.preset(synthetic.MODEL, sharing=Variant.parse(variant).sharing)
    weights = costs.weights_bytes(shared, synthetic.DTYPE) / 1e6
    return weights + cache(variant, length, batch) + batch * synthetic.TRANSIENT / 1e6


def curves(panel, form="line"):
    return {one.variant: {point.x: point.y for point in one.points} for one in panel.series if one.form == form}


def heights(panel):
    return {panel.x.names[int(point.x)]: point.y for one in panel.series for point in one.points if one.form == "bars"}


def labels(panel):
    return {one.variant: one.points[0].label for one in panel.series}


@pytest.mark.parametrize("name", MAKERS)
def test_each_chart_bears_its_name_and_is_in_the_catalogue(results, name):
    assert MAKERS[name](results).name == name
    assert name in {chart.name for chart in charts(results)[0]}


def test_peak_and_cache_stand_side_by_side_in_megabytes(results):
    held, alone = memory.key(results).panels
    assert (held.x.label, held.x.scale, held.y.label, held.y.scale) == (
        "new tokens T",
        "log2",
        "peak memory (MB)",
        "linear",
    )
    assert held.x.ticks == synthetic.LENGTHS and (alone.y.label, alone.y.low) == ("cache (MB)", 0)
    for panel, formula in ((held, peak), (alone, cache)):
        expected = {
            variant: pytest.approx({length: formula(variant, length) for length in synthetic.LENGTHS})
            for variant in EVERY
        }
        assert curves(panel) == expected
    (first, *_) = held.series[1].points
    assert (first.length, first.batch_size, first.cases[0].variant) == (32, 1, "v1")


def test_the_overview_says_growth_and_savings_from_the_data(results):
    growth, saved = memory.key(results).insights
    assert growth.startswith(
        "change of the peak from the smallest to the largest T: v0 0 B, v1 +97.52 MB, v2 +50.28 MB"
    )
    assert saved.startswith("against the 819.3 MB of v1 at T = 1,024: v0 -100.7 MB (-12.3%), v2 -48.76 MB (-5.95%)")


def test_peaks_at_different_lengths_are_not_compared():
    long, short = (
        having(synthetic.results(lengths=(32, 64)), "v1", "v2"),
        having(synthetic.results(lengths=(32,)), "v3"),
    )
    saved = memory.key(joined(long, short)).insights[-1]
    assert saved.startswith("against the 724.9 MB of v1 at T = 64: v2 ") and "v3" not in saved


def test_a_straight_line_through_each_curve_has_the_bytes_of_a_token_for_slope(results):
    chart = memory.compared(results)
    (panel,) = chart.panels
    assert not any(one.in_legend for one in panel.series if one.form == "fit")
    assert {name: len(marks) for name, marks in curves(panel, "marks").items()} == dict.fromkeys(EVERY, 16)
    for variant, line in curves(panel, "fit").items():
        slope = cache(variant, 2) - cache(variant, 1)
        assert min(line) == pytest.approx(32) and max(line) == pytest.approx(1024)
        assert (line[max(line)] - line[min(line)]) / (max(line) - min(line)) == pytest.approx(slope, abs=1e-9)
    assert set(curves(panel, "fit")) == set(EVERY)
    assert chart.insights == (
        "each token adds to the peak: v0 0 B, v1 98.3 kB, v2 50.69 kB, v3 49.15 kB, v4 25.34 kB, v3a 49.15 kB and "
        "v4a 25.34 kB",
    )


def test_growth_is_measured_from_the_smallest_length_on_a_linear_axis(results):
    cases = [
        replace(one, metrics={"peak_memory": metric("peak_memory", 7e8 + 1e4 * one.workload["new_tokens"])})
        if one.family == "memory" and one.variant == "v0"
        else one
        for one in results.cases
    ]
    chart = memory.growth(replace(results, cases=tuple(cases)))
    (panel,) = chart.panels
    assert panel.x.scale == panel.y.scale == "linear"
    found = curves(panel)
    assert list(found) == ["v0", "v1"] and found["v0"][32] == found["v1"][32] == 0
    assert found["v0"][1024] == pytest.approx(9.92) and found["v1"][1024] == pytest.approx(97.517568)
    assert [(one.text, one.x, round(one.y, 2)) for one in panel.callouts] == [
        ("v0: +9.92 MB at T = 1,024", 1024, 9.92),
        ("v1: +97.52 MB at T = 1,024", 1024, 97.52),
    ]
    assert chart.insights[-1] == "the peak of v1 grows 9.83 times as much as that of v0"


def test_growth_without_the_pair_or_with_one_length_is_missing():
    for one in (synthetic.results(lengths=(32,)), having(synthetic.results(), "v2", "v3")):
        with pytest.raises(Missing, match="neither v0 nor v1 has its memory measured at two lengths"):
            memory.growth(one)
    (panel,) = memory.growth(having(synthetic.results(), "v1", "v4")).panels
    assert list(curves(panel)) == ["v1"]


def test_bars_show_each_variant_and_a_line_the_reference(results):
    (panel,) = saving.every_variant(results).panels
    assert panel.x.scale == "names" and panel.x.names == EVERY and panel.title.endswith("T = 1,024")
    assert heights(panel) == pytest.approx({variant: peak(variant, 1024) for variant in EVERY})
    assert panel.y.low == 0 and labels(panel)["v2"] == "770.6 MB"
    assert not any(one.in_legend for one in panel.series), "the names stand under the bars"
    (rule,) = panel.rules
    assert (rule.axis, rule.label) == ("y", "v1") and rule.at == pytest.approx(peak("v1", 1024))


def test_bars_of_cached_variants_say_what_each_saves(results):
    (panel,) = saving.cached_variants(results).panels
    assert panel.x.names == EVERY[1:]
    assert labels(panel)["v1"] == "819.3 MB" and labels(panel)["v4"] == "-125.1 MB"
    assert heights(panel)["v4"] == pytest.approx(peak("v4", 1024))


def test_bars_without_a_reference_say_how_much_each_takes():
    chart = saving.cached_variants(having(synthetic.results(), "v0", "v2"))
    assert labels(chart.panels[0]) == {"v2": "770.6 MB"} and chart.panels[0].rules == () and chart.insights == ()


@pytest.mark.parametrize(("lengths", "drawn"), [((32, 64), 64), ((512, 1024, 2048), 1024), ((2048,), 2048)])
def test_bars_are_drawn_at_1024_else_at_the_largest_length(lengths, drawn):
    results = synthetic.results(lengths=lengths)
    assert saving.cached_variants(results).name == f"kv_variants_vram_bar_T{drawn}"
    assert saving.every_variant(results).panels[0].title.endswith(f"T = {drawn:,}")
    assert heights(saving.every_variant(results).panels[0])["v1"] == pytest.approx(peak("v1", drawn))


def test_only_variants_that_recompute_have_no_bars_of_cached_ones():
    with pytest.raises(Missing, match="of a variant with a cache"):
        saving.cached_variants(having(synthetic.results(), "v0"))


def test_efficiency_is_tokens_of_all_sequences_per_megabyte():
    chart = memory.efficiency(synthetic.results(lengths=(32, 64), batches=(1, 8)))
    one, eight = chart.panels
    assert one.y.label == "tokens per MB of peak memory" and one.x.scale == "log2"
    assert curves(one)["v1"][64] == pytest.approx(64 / peak("v1", 64))
    assert curves(eight)["v1"][64] == pytest.approx(8 * 64 / peak("v1", 64, 8))
    assert [line.partition(":")[0] for line in chart.insights] == ["B = 1", "B = 8"]
    assert memory.efficiency(synthetic.results()).insights == (
        "tokens per MB at T = 1,024: v4 1.48, v4a 1.48, v3 1.42, v3a 1.42, v0 1.42, v2 1.33 and v1 1.25",
    )


def test_a_single_variant_has_the_equation_of_its_line_in_the_legend(results):
    chart = memory.single(results, "v2")
    (panel,) = chart.panels
    measured, line = panel.series
    assert (measured.form, line.form, line.variant, line.in_legend) == ("marks", "fit", "v2", True)
    assert line.name == "v2: y = 0.05069·T + 718.6 (R² = 1.0000)"
    assert chart.insights == (
        "in MB, y = 0.05069·T + 718.6 (R² = 1.0000)",
        "the peak of v2 changes by +50.28 MB (+6.98%) from T = 32 to 1,024",
    )


def test_a_single_length_is_a_mark_without_a_line():
    chart = memory.single(synthetic.results(lengths=(64,)), "v2")
    assert [one.form for one in chart.panels[0].series] == ["line"] and chart.insights == ()


def test_a_variant_that_was_not_measured_is_missing(results):
    with pytest.raises(Missing, match="no peak memory of v9 was measured"):
        memory.single(results, "v9")


def test_of_several_cases_at_one_length_the_first_counts(results):
    twice = joined(results, with_figures(results, "memory", "peak_memory", dict.fromkeys(EVERY, 1.0)))
    assert memory.key(twice) == memory.key(results)
    assert heights(saving.every_variant(twice).panels[0]) == heights(saving.every_variant(results).panels[0])


def test_each_model_is_a_panel_and_the_insights_say_which():
    both = joined(synthetic.results(lengths=(32, 64)), elsewhere(synthetic.results(lengths=(32, 64)), model="nano"))
    chart = memory.compared(both)
    assert [panel.title.partition(" ")[0] for panel in chart.panels] == ["gpt2-medium", "nano"]
    assert [line.partition(":")[0] for line in memory.key(both).insights] == [
        "gpt2-medium (pretrained)",
        "gpt2-medium (pretrained)",
        "nano (pretrained)",
        "nano (pretrained)",
    ]


def test_what_is_drawn_though_not_valid_is_named(results):
    cases = [replace(one, valid=False, notes=("throttled",)) if one.variant == "v2" else one for one in results.cases]
    chart = memory.key(replace(results, cases=tuple(cases)))
    assert chart.insights[-1] == "v2 is drawn, but not valid: throttled"
    assert sum("not valid" in line for line in chart.insights) == 1


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("value", [0, -1.0, 1e-200, 1e200])
def test_bytes_that_cannot_be_are_not_drawn(results, name, value):
    nothing = with_figures(results, "memory", "peak_memory", dict.fromkeys(EVERY, value))
    with pytest.raises(Missing):
        MAKERS[name](nothing)


@pytest.mark.parametrize("field", ["new_tokens", "batch_size"])
def test_more_tokens_or_sequences_than_can_be_told_apart_are_not_drawn(results, field):
    with pytest.raises(Missing):
        memory.efficiency(elsewhere(results, **{field: 2**53}))


def test_bounds_that_no_axis_has_are_left_out(results):
    spreads = {"v1": (7e8, 9e8), "v2": (7e8, 1e308)}
    values = {"v1": 8e8, "v2": 8e8}
    (panel,) = saving.every_variant(with_figures(results, "memory", "peak_memory", values, spreads)).panels
    known = {one.variant: (one.points[0].low, one.points[0].high) for one in panel.series}
    assert known["v1"] == pytest.approx((700, 900)) and known["v2"] == (700, pytest.approx(1e302))
    (slow,) = tradeoff.at_one_length(
        with_figures(having(results, "v1"), "latency", "total_latency", {"v1": 1.0}, {"v1": (0.5, 1e308)})
    ).panels
    assert (slow.series[0].points[0].low, slow.series[0].points[0].high) == (None, None)


def test_without_the_caches_own_bytes_there_is_no_panel_of_them(results):
    assert len(memory.key(less(results, "memory", "cache_bytes")).panels) == 1


def test_strangers_are_drawn_as_they_are_called():
    results = renamed(synthetic.results(lengths=(32, 64), batches=(1, 8)), v2=STRANGER, v3=HOSTILE)
    names = ("v0", "v1", STRANGER, HOSTILE, "v4", "v3a", "v4a")
    for panel in saving.every_variant(results).panels:
        assert panel.x.names == names
    assert tuple(curves(memory.key(results).panels[0])) == names
    assert saving.cached_variants(results).panels[0].x.names == names[1:]
    assert memory.single(results, STRANGER).name == f"vram_vs_T_{STRANGER}"


@pytest.mark.parametrize("name", MAKERS)
def test_without_the_family_each_chart_is_missing(results, name):
    with pytest.raises(Missing, match="memory"):
        MAKERS[name](having(results, *EVERY, without=("memory",)))
