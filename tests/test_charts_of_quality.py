"""Charts of quality: perplexities in zones of the reference's, and changes against the thresholds."""

from math import log10

import pytest
import synthetic
from reshaped import HOSTILE, STRANGER, elsewhere, having, joined, less, renamed, with_figures

from kvgpt.report.chart import Missing
from kvgpt.report.charts import charts, degradation, perplexity

EVERY = tuple(synthetic.CURVES)
MODES = ("teacher forced, 287,643 tokens of wikitext-2", "autoregressive, 4,096 tokens of wikitext-2")
MAKERS = {
    "comparison_perplexity": perplexity.compared,
    "comparison_perplexity_degradation": degradation.compared,
}


@pytest.fixture(scope="module")
def results():
    return synthetic.results()


def points(panel):
    return {panel.x.names[int(one.points[0].x)]: one.points[0] for one in panel.series}


def heights(panel):
    return {name: point.y for name, point in points(panel).items()}


@pytest.mark.parametrize("name", MAKERS)
def test_each_chart_bears_its_name_and_is_in_the_catalogue(results, name):
    assert MAKERS[name](results).name == name
    assert name in {chart.name for chart in charts(results)[0]}


@pytest.mark.parametrize("name", MAKERS)
def test_each_way_of_feeding_the_text_is_a_panel(results, name):
    chart = MAKERS[name](results)
    assert [panel.title.partition(": ")[0] for panel in chart.panels] == list(MODES)
    assert {line.partition(": ")[0] for line in chart.insights} == set(MODES)
    assert all(panel.x.names == EVERY for panel in chart.panels)


def test_perplexities_are_bars_on_a_logarithmic_axis_with_their_intervals(results):
    for panel in perplexity.compared(results).panels:
        assert (panel.y.label, panel.y.scale) == ("perplexity", "log")
        assert heights(panel) == pytest.approx(synthetic.PERPLEXITY)
        point = points(panel)["v3"]
        assert (point.low, point.high) == pytest.approx((0.98 * 779.9, 1.02 * 779.9)) and point.label == "779.90"
        assert panel.y.low < 21 and panel.y.high > 800


def test_the_zones_are_multiples_of_the_reference_and_on_the_originals_data_end_where_its_did(results):
    panel = perplexity.compared(results).panels[0]
    assert [(one.axis, one.tone, one.label) for one in panel.zones] == [
        ("y", "good", "up to 1.38x v1"),
        ("y", "fair", "up to 4.60x"),
        ("y", "poor", "above 4.60x"),
    ]
    assert [one.high for one in panel.zones[:2]] == pytest.approx([30, 100])
    assert [one.low for one in panel.zones[1:]] == pytest.approx([30, 100]) and panel.zones[0].low is None
    assert [(one.axis, one.at, one.label) for one in panel.rules] == [("y", 21.72, "v1: 21.72")]


def test_zones_that_begin_above_the_axis_are_left_out(results):
    panel = perplexity.compared(having(results, "v0", "v1")).panels[0]
    assert [one.tone for one in panel.zones] == ["good", "fair"]


def test_zones_of_another_model_stand_at_its_own_multiples(results):
    nano = with_figures(having(results, "v1", "v3"), "perplexity", "perplexity", {"v1": 3.0, "v3": 30.0})
    panel = perplexity.compared(nano).panels[0]
    assert [one.high for one in panel.zones[:2]] == pytest.approx([3 * 30 / 21.72, 3 * 100 / 21.72])


def test_multiples_of_the_reference_are_told(results):
    first, second = perplexity.compared(results).insights[:2]
    assert first.endswith("times the perplexity of v1: v0 1, v2 1, v3 35.9, v4 36, v3a 5.38 and v4a 5.38")
    assert second.endswith("up to 1.38 times: v0 and v2; above 4.60 times: v3, v4, v3a and v4a")


def test_without_the_reference_there_are_no_zones(results):
    chart = perplexity.compared(having(results, "v0", "v3"))
    assert all(panel.zones == panel.rules == () for panel in chart.panels) and chart.insights == ()


def test_changes_are_in_percent_of_the_references_perplexity_with_their_paired_intervals(results):
    for panel in degradation.compared(results).panels:
        assert (panel.y.label, panel.y.scale) == ("change of perplexity against v1 (%)", "symlog")
        expected = {name: 100 * (value / 21.72 - 1) for name, value in synthetic.PERPLEXITY.items()}
        assert heights(panel) == pytest.approx(expected)
        point = points(panel)["v2"]
        assert (point.low, point.high) == pytest.approx((expected["v2"] - 0.01, expected["v2"] + 0.01))
        assert [points(panel)[name].label for name in ("v1", "v2", "v3", "v3a")] == [
            "0%",
            "+0.046%",
            "+3,491%",
            "+438%",
        ]
        assert panel.y.low <= -0.1 and panel.y.high > 3505


def test_thresholds_zones_and_the_reference_are_marked(results):
    panel = degradation.compared(having(results, "v1", "v2")).panels[0]
    assert [(one.at, one.tone, one.label) for one in panel.rules] == [
        (0, "neutral", "v1"),
        (1, "good", "1%: acceptable"),
        (10, "fair", "10%: marginal"),
        (100, "poor", "100%: unusable"),
    ]
    assert [(one.low, one.high, one.tone) for one in panel.zones] == [
        (0, 1, "good"),
        (1, 10, "fair"),
        (10, None, "poor"),
    ]
    assert panel.y.high > 100


def test_what_alignment_buys_is_called_out_at_the_aligned_variants(results):
    chart = degradation.compared(results)
    assert [(one.text, one.x, one.tone) for one in chart.panels[0].callouts] == [
        ("alignment: 7.97 times less", 5, "good"),
        ("alignment: 8 times less", 6, "good"),
    ]
    assert f"{MODES[1]}: v3a: alignment changes +3,491% to +438%, 7.97 times less" in chart.insights


def test_callouts_have_room_above_the_largest_change_by_as_much_as_the_axis_is_long(results):
    for largest in (0.5, 35.0):
        both = with_figures(results, "perplexity", "perplexity_change", {"v3": largest, "v4": largest})
        top = degradation.compared(both).panels[0].y.high
        assert log10(top / max(100 * largest, 100)) > 0.3 * log10(max(100 * largest, 100) / 0.1)
    assert degradation.compared(having(results, "v1", "v2")).panels[0].y.high == 200, "nothing is called out"


@pytest.mark.parametrize(
    ("before", "after", "spread", "text", "tone", "sentence"),
    [
        (2.0, 3.0, 0.1, "1.5 times as much", "poor", "+200% to +300%, 1.5 times as much"),
        (0.02, -0.01, 0.001, "from +2%", "good", "+2% to -1%"),
    ],
)
def test_alignment_that_costs_is_said_to(results, before, after, spread, text, tone, sentence):
    values = {"v3": before, "v3a": after}
    spreads = {name: (value - spread, value + spread) for name, value in values.items()}
    pair = with_figures(having(results, "v1", "v3", "v3a"), "perplexity", "perplexity_change", values, spreads)
    chart = degradation.compared(pair)
    (callout,) = chart.panels[0].callouts
    assert (callout.text, callout.tone) == (f"alignment: {text}", tone)
    assert f"{MODES[0]}: v3a: alignment changes {sentence}" in chart.insights


def test_alignment_that_may_be_chance_is_said_to_be_and_not_called_out(results):
    values = {"v3": 2.0, "v3a": 3.0}
    spreads = {name: (value - 0.6, value + 0.6) for name, value in values.items()}
    pair = with_figures(having(results, "v1", "v3", "v3a"), "perplexity", "perplexity_change", values, spreads)
    chart = degradation.compared(pair)
    assert not chart.panels[0].callouts
    assert (
        f"{MODES[0]}: v3a: alignment changes +200% to +300%, 1.5 times as much, within the intervals" in chart.insights
    )


def test_without_the_same_variant_unaligned_nothing_is_said_of_alignment(results):
    chart = degradation.compared(having(results, "v1", "v4", "v3a"))
    assert not any(panel.callouts for panel in chart.panels)


def test_variants_are_sorted_by_the_thresholds_and_those_like_the_reference_are_named(results):
    values = {"v2": 0.002, "v3": 0.05, "v4": 0.5}
    spreads = {"v2": (-0.001, 0.005), "v3": (0.04, 0.06)}
    some = having(results, "v1", *values)
    chart = degradation.compared(with_figures(some, "perplexity", "perplexity_change", values, spreads))
    assert [line.removeprefix(f"{MODES[0]}: ") for line in chart.insights[:2]] == [
        "no more than 1% worse: v2; up to 10%: v3; more than 10%: v4",
        "not told from v1 by the interval of the change: v2",
    ]


def test_a_change_that_no_record_states_follows_from_the_perplexities_without_an_interval(results):
    plain = less(results, "perplexity", "perplexity_change")
    panel = degradation.compared(plain).panels[0]
    assert heights(panel)["v3"] == pytest.approx(100 * (779.90 / 21.72 - 1)) and heights(panel)["v1"] == 0
    assert all(point.low is point.high is None for point in points(panel).values())
    with pytest.raises(Missing, match="no perplexity was measured beside that of v1"):
        degradation.compared(having(plain, "v0", "v2"))


def test_improvements_stand_below_nothing(results):
    better = with_figures(having(results, "v1", "v2"), "perplexity", "perplexity_change", {"v2": -0.2})
    panel = degradation.compared(better).panels[0]
    assert heights(panel)["v2"] == pytest.approx(-20) and panel.y.low < -20


@pytest.mark.parametrize("name", MAKERS)
def test_other_texts_and_other_models_are_panels_of_their_own(results, name):
    several = joined(results, elsewhere(results, corpus_sha256="1" * 64), elsewhere(results, model="nano"))
    assert len(MAKERS[name](several).panels) == 6


@pytest.mark.parametrize("name", MAKERS)
def test_records_that_say_little_of_what_was_scored_are_drawn(results, name):
    bare = elsewhere(results, corpus=None, corpus_sha256=None, scored_tokens=None)
    titles = [panel.title.partition(": ")[0] for panel in MAKERS[name](bare).panels]
    assert titles == ["teacher forced", "autoregressive"]


@pytest.mark.parametrize("name", MAKERS)
def test_strangers_are_drawn_as_they_are_called(results, name):
    for panel in MAKERS[name](renamed(results, v2=STRANGER, v3=HOSTILE)).panels:
        assert panel.x.names == ("v0", "v1", STRANGER, HOSTILE, "v4", "v3a", "v4a")


@pytest.mark.parametrize("name", MAKERS)
def test_without_the_family_each_chart_is_missing(results, name):
    with pytest.raises(Missing, match="no perplexity was measured"):
        MAKERS[name](having(results, *EVERY, without=("perplexity",)))


@pytest.mark.parametrize("value", [0, -3.0, 1e200])
def test_a_perplexity_that_no_logarithm_has_is_not_drawn(results, value):
    with pytest.raises(Missing):
        perplexity.compared(with_figures(results, "perplexity", "perplexity", dict.fromkeys(EVERY, value)))


@pytest.mark.parametrize("name", MAKERS)
def test_how_many_rows_were_scored_at_once_is_not_in_the_title(results, name):
    assert not any("B = 16" in panel.title for panel in MAKERS[name](elsewhere(results, batch_size=16)).panels)
