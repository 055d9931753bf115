"""Charts of phases: each phase of each variant, their shares, and the remarks that the data give rise to."""

from dataclasses import replace

import pytest
import synthetic
from reshaped import HOSTILE, STRANGER, elsewhere, having, joined, less, renamed, with_figures

from kvgpt.report.chart import Missing
from kvgpt.report.charts import charts, phases, pies

EVERY = tuple(synthetic.CURVES)
PHASES = ("embedding", "attention", "mlp", "other", "head")
SHOWN = ("embedding", "attention", "MLP", "other", "head")
MAKERS = {
    "per_phase_breakdown_bar": phases.side_by_side,
    "per_phase_breakdown_stacked": phases.stacked,
    "per_phase_breakdown_with_insights": phases.with_insights,
    "per_phase_pie_v0_v1": pies.plain,
    "per_phase_pie_improved": pies.improved,
}
BARS = {name: make for name, make in MAKERS.items() if "pie" not in name}
PIES = {name: make for name, make in MAKERS.items() if "pie" in name}


@pytest.fixture(scope="module")
def results():
    return synthetic.results()


def times(variant):
    """Milliseconds at T = 512."""
    return dict(zip(synthetic.NAMES, synthetic.PHASES[variant], strict=True))


def drawn(panel, form):
    return {
        one.phase: {panel.x.names[int(point.x)]: point.y for point in one.points}
        for one in panel.series
        if one.form == form
    }


@pytest.mark.parametrize("name", MAKERS)
def test_each_chart_bears_its_name_and_is_in_the_catalogue(results, name):
    assert MAKERS[name](results).name == name
    assert name in {chart.name for chart in charts(results)[0]}


@pytest.mark.parametrize("name", BARS)
def test_each_phase_of_each_variant_is_where_its_time_is(results, name):
    (panel,) = MAKERS[name](results).panels
    assert (panel.x.scale, panel.x.names, panel.y.label, panel.y.low) == ("names", EVERY, "time (ms)", 0)
    assert panel.title.endswith("T = 512")
    assert [one.name for one in panel.series] == list(SHOWN)
    expected = {phase: pytest.approx({variant: times(variant)[phase] for variant in EVERY}) for phase in PHASES}
    assert drawn(panel, "stack" if "stacked" in name else "bars") == expected


def test_a_stack_says_the_shares_that_there_is_room_for(results):
    (panel,) = phases.stacked(results).panels
    labels = {one.phase: [point.label for point in one.points] for one in panel.series}
    assert labels["attention"][:5] == ["38%", "42%", "66%", "39%", "60%"]
    assert labels["other"][:2] == ["14%", "29%"] and set(labels["embedding"]) == set(labels["head"]) == {""}


def test_the_wholes_are_compared_with_the_references(results):
    (sentence,) = phases.stacked(results).insights
    assert sentence.startswith(
        "all phases together, with the change against v1: v0 2.679 s (+15.5%), v1 2.319 s, v2 4.206 s (+81.4%)"
    )
    (alone,) = phases.side_by_side(having(results, "v0", "v2")).insights
    assert alone == "all phases together: v0 2.679 s and v2 4.206 s"


def test_the_phase_furthest_from_the_references_and_what_a_cache_does_to_the_rest_are_called_out(results):
    chart = phases.with_insights(results)
    (panel,) = chart.panels
    assert [(one.text, one.x, one.tone) for one in panel.callouts] == [
        ("attention: +1.82 s against v1", 2, "poor"),
        ("other: 1.73 times that of v0", 1, "poor"),
    ]
    assert [one.y for one in panel.callouts] == pytest.approx([2791.0, 671.1])
    assert chart.insights[:2] == ("v2, attention: +1.82 s against v1", "v1, other: 1.73 times that of v0")


def test_a_phase_that_became_shorter_is_called_out_as_good(results):
    shorter = with_figures(having(results, "v1", "v3"), "phases", "phase_attention", {"v1": 0.97, "v3": 0.1})
    (callout,) = phases.with_insights(shorter).panels[0].callouts
    assert (callout.text, callout.tone) == ("attention: -870 ms against v1", "good")


def test_who_is_as_fast_as_the_reference_is_told_from_who_is_slower(results):
    (panel,) = phases.with_insights(results).panels
    (rule,) = panel.rules
    assert (rule.axis, rule.label) == ("y", "v1 in all") and rule.at == pytest.approx(2318.7)
    zones = {panel.x.names[int(zone.low + 0.5)]: zone for zone in panel.zones}
    assert {name for name, zone in zones.items() if zone.tone == "good"} == {"v1", "v3", "v3a"}
    assert {name for name, zone in zones.items() if zone.tone == "poor"} == {"v0", "v2", "v4", "v4a"}
    assert zones["v2"].label == "+81.4%" and zones["v3"].label == "-4.77%"
    assert all(zone.axis == "x" and zone.high - zone.low == 1 for zone in panel.zones)


@pytest.mark.parametrize(("longer", "tone"), [(1.04, "good"), (1.06, "poor")])
def test_what_is_slower_by_a_twentieth_is_still_as_fast(results, longer, tone):
    whole = sum(synthetic.PHASES["v1"]) / 1e3
    other = longer * whole - (sum(synthetic.PHASES["v3"]) - times("v3")["other"]) / 1e3
    slower = with_figures(having(results, "v1", "v3"), "phases", "phase_other", {"v1": 0.6711, "v3": other})
    assert phases.with_insights(slower).panels[0].zones[1].tone == tone


def test_without_the_reference_nothing_is_compared(results):
    chart = phases.with_insights(having(results, "v0", "v2"))
    (panel,) = chart.panels
    assert panel.zones == panel.rules == panel.callouts == () and len(chart.insights) == 1


def test_pies_are_of_the_reference_and_of_the_same_without_a_cache(results):
    chart = pies.plain(results)
    assert [panel.title.partition(":")[0] for panel in chart.panels] == ["v0", "v1"]
    for panel, variant in zip(chart.panels, ("v0", "v1"), strict=True):
        assert panel.title.endswith("T = 512")
        slices = {one.phase: one.points[0] for one in panel.series}
        assert all(one.form == "slices" and len(one.points) == 1 for one in panel.series)
        assert {phase: point.y for phase, point in slices.items()} == pytest.approx(times(variant))
    assert slices["attention"].label == "41.9%" and slices["other"].label == "28.9%"
    assert {panel.y.label for panel in chart.panels} == {"time (ms)"}
    assert chart.insights == (
        "v0: MLP 44.1%, attention 38.0%, other 14.5%, head 3.1% and embedding 0.2%",
        "v1: attention 41.9%, other 28.9%, MLP 25.4%, head 3.6% and embedding 0.2%",
        "the share of MLP differs most: 44.1% in v0, 25.4% in v1",
    )


def test_improved_pies_say_name_share_and_time_of_each_slice_and_the_device(results):
    (_, panel) = pies.improved(results).panels
    assert [one.points[0].label for one in panel.series][1:3] == ["attention: 41.9%, 970.6 ms", "MLP: 25.4%, 588.5 ms"]
    assert panel.title.endswith(f"T = 512, {synthetic.GPU}")


def test_a_pie_needs_all_phases():
    results = having(synthetic.results(), "v1", "v2")
    assert [panel.title.partition(":")[0] for panel in pies.plain(results).panels] == ["v1"]
    for one in (less(results, "phases", "phase_head"), having(results, "v2")):
        with pytest.raises(Missing, match="neither v0 nor v1 has all its phases measured"):
            pies.plain(one)


def test_a_phase_that_was_not_timed_is_absent_and_so_is_the_whole(results):
    some = less(results, "phases", "phase_head")
    (panel,) = phases.stacked(some).panels
    assert [one.name for one in panel.series] == list(SHOWN[:-1])
    assert {point.label for one in panel.series for point in one.points} == {""}
    assert phases.stacked(some).insights == ()


def test_a_time_below_nothing_is_not_drawn(results):
    odd = with_figures(results, "phases", "phase_other", {"v1": -1e-3})
    (panel,) = phases.side_by_side(odd).panels
    assert "v1" not in drawn(panel, "bars")["other"] and "v0" in drawn(panel, "bars")["other"]
    assert phases.with_insights(odd).panels[0].rules == ()


def test_phases_of_no_time_have_no_shares(results):
    idle = having(results, "v1")
    for phase in PHASES:
        idle = with_figures(idle, "phases", f"phase_{phase}", {"v1": 0})
    assert {point.label for one in phases.stacked(idle).panels[0].series for point in one.points} == {""}
    assert phases.with_insights(idle).panels[0].zones == ()


def test_at_other_lengths_the_largest_is_drawn(results):
    shorter = replace(results, cases=tuple(one for one in results.cases if one.workload.get("new_tokens") != 512))
    (panel,) = phases.side_by_side(shorter).panels
    assert panel.title.endswith("T = 256")
    assert drawn(panel, "bars")["attention"]["v1"] == pytest.approx(970.6 / 2)


def test_each_batch_size_and_each_model_is_a_panel():
    several = joined(synthetic.results(batches=(1, 8)), elsewhere(synthetic.results(), model="nano"))
    chart = phases.with_insights(several)
    assert len(chart.panels) == 3 and len(pies.improved(several).panels) == 6
    assert len({line.partition(": ")[0] for line in chart.insights}) == 3


@pytest.mark.parametrize("name", BARS)
def test_strangers_are_drawn_as_they_are_called(results, name):
    (panel,) = MAKERS[name](renamed(results, v2=STRANGER, v3=HOSTILE)).panels
    assert panel.x.names == ("v0", "v1", STRANGER, HOSTILE, "v4", "v3a", "v4a")


@pytest.mark.parametrize("name", MAKERS)
def test_without_the_family_each_chart_is_missing(results, name):
    with pytest.raises(Missing, match="phases"):
        MAKERS[name](having(results, *EVERY, without=("phases",)))
