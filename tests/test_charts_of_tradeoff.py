"""Charts of memory against latency: the points, who is on the frontier, and what it leaves behind."""

from itertools import pairwise

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from reshaped import HOSTILE, STRANGER, elsewhere, having, joined, renamed, with_figures

from kvgpt.report.chart import Missing, Point
from kvgpt.report.charts import charts, pareto, tradeoff
from kvgpt.report.charts.frontier import beats, behind, edge, unbeaten

EVERY = tuple(synthetic.CURVES)
PUBLISHED = {  # MB and ms at T = 1024
    "v0": (799.2, 7362.5),
    "v1": (920.8, 3347.9),
    "v2": (872.0, 6754.1),
    "v3": (848.8, 3072.0),
    "v4": (807.6, 6913.4),
}
MAKERS = {"tradeoff_memory_latency_T1024": tradeoff.at_one_length, "pareto_memory_latency": pareto.at_every_length}


@pytest.fixture(scope="module")
def published():
    """The five variants as the original published them, at one T."""
    results = synthetic.results(variants=tuple(PUBLISHED), lengths=(1024,))
    results = with_figures(results, "memory", "peak_memory", {name: 1e6 * x for name, (x, _) in PUBLISHED.items()})
    return with_figures(results, "latency", "total_latency", {name: 1e-3 * y for name, (_, y) in PUBLISHED.items()})


def marks(panel):
    return {one.variant: [(point.x, point.y) for point in one.points] for one in panel.series if one.form == "marks"}


def line(panel, form="frontier"):
    return [[(point.x, point.y) for point in one.points] for one in panel.series if one.form == form]


@pytest.mark.parametrize("name", MAKERS)
def test_each_chart_bears_its_name_and_is_in_the_catalogue(name):
    results = synthetic.results()
    assert MAKERS[name](results).name == name
    assert name in {chart.name for chart in charts(results)[0]}


def test_each_variant_is_a_mark_with_its_memory_across_and_its_latency_up(published):
    (panel,) = tradeoff.at_one_length(published).panels
    assert (panel.x.label, panel.x.scale) == ("peak memory (MB)", "linear")
    assert (panel.y.label, panel.y.scale) == ("total latency (ms)", "linear")
    assert marks(panel) == {name: [pytest.approx(place)] for name, place in PUBLISHED.items()}
    point = next(one for one in panel.series if one.variant == "v2").points[0]
    assert (point.label, point.length, point.batch_size) == ("v2", 1024, 1)
    assert [one.family for one in point.cases] == ["latency", "memory"]


def test_the_interval_is_that_of_the_latency():
    (panel,) = tradeoff.at_one_length(synthetic.results()).panels
    point = next(one for one in panel.series if one.variant == "v1").points[0]
    seconds = synthetic.total("v1", 1024)
    assert (point.low, point.high) == pytest.approx((980 * seconds, 1020 * seconds))


def test_the_quadrants_are_cut_at_the_medians_and_named(published):
    (panel,) = tradeoff.at_one_length(published).panels
    assert {one.axis: one.at for one in panel.rules} == pytest.approx({"x": 848.8, "y": 6754.1})
    quadrants = {(round(one.across), round(one.up)): one.text for one in panel.corners}
    assert quadrants == {
        (0, 0): "ideal: fast and small",
        (1, 0): "speed first",
        (0, 1): "memory first",
        (1, 1): "avoid",
    }


def test_the_frontier_joins_what_nothing_beats_and_the_others_are_named_with_who_beats_them(published):
    chart = tradeoff.at_one_length(published)
    assert line(chart.panels[0]) == [[pytest.approx(PUBLISHED[name]) for name in ("v0", "v4", "v3")]]
    assert chart.insights == (
        "on the frontier: v0, v4 and v3",
        "dominated, taking no less of either: v1 by v3; v2 by v3",
    )


def test_dominated_by_times_that_the_intervals_do_not_tell_apart_is_said():
    chart = tradeoff.at_one_length(synthetic.results())
    assert "dominated by times whose intervals overlap: v3a and v4a" in chart.insights
    clearer = with_figures(synthetic.results(), "latency", "total_latency", {"v4": 1.0}, {"v4": (0.9, 1.1)})
    assert tradeoff.at_one_length(clearer).insights[-1] == "dominated, taking no less of either: " + (
        "v0 by v3, v4, v3a and v4a; v1 by v3, v4 and v3a; v2 by v3, v4 and v3a; v3 by v4; v3a by v3 and v4; v4a by v4"
    )


def test_a_variant_alone_has_no_quadrants():
    chart = tradeoff.at_one_length(synthetic.results(variants=("v1",)))
    (panel,) = chart.panels
    assert panel.rules == panel.corners == () and chart.insights == ("on the frontier: v1",)


@pytest.mark.parametrize(("lengths", "drawn"), [((32, 64), 64), ((512, 1024, 2048), 1024)])
def test_it_is_drawn_at_1024_else_at_the_largest_length_of_both(lengths, drawn):
    chart = tradeoff.at_one_length(synthetic.results(lengths=lengths))
    assert chart.name == f"tradeoff_memory_latency_T{drawn}" and chart.panels[0].title.endswith(f"T = {drawn:,}")
    short = joined(
        having(synthetic.results(lengths=(32, 64)), *EVERY, without=("latency",)), synthetic.results(lengths=(32,))
    )
    assert tradeoff.at_one_length(short).name == "tradeoff_memory_latency_T32"


def test_every_length_of_every_variant_is_a_mark():
    (panel,) = pareto.at_every_length(synthetic.results()).panels
    assert {name: len(places) for name, places in marks(panel).items()} == dict.fromkeys(EVERY, 16)
    assert (panel.x.label, panel.y.label) == ("peak memory (MB)", "total latency (ms)")


def test_what_one_of_its_length_beats_is_hollow_and_each_length_has_its_frontier():
    results = synthetic.results(variants=("v1", "v2"), lengths=(32, 64))
    crossed = with_figures(results, "latency", "total_latency", {"v1": 1.0, "v2": 2.0})
    chart = pareto.at_every_length(crossed)
    (panel,) = chart.panels
    assert [one.name for one in panel.series if one.form == "frontier"] == [
        "frontier at T = 32",
        "frontier at T = 64",
    ]
    assert [one.in_legend for one in panel.series if one.form == "frontier"] == [False, True]
    assert [one.points[0].label for one in panel.series if one.form == "frontier"] == ["T = 32", "T = 64"]
    assert all(len(one) == 2 for one in line(panel)) and not any(one.faint for one in panel.series)
    assert chart.insights == ("on the frontier, of 2 T: v1 at 2 and v2 at 2",)
    beaten = pareto.at_every_length(with_figures(crossed, "latency", "total_latency", {"v1": 3.0}))
    assert [(one.variant, one.faint, len(one.points)) for one in beaten.panels[0].series if one.form == "marks"] == [
        ("v1", True, 2),
        ("v2", False, 2),
    ]
    assert beaten.insights == ("on the frontier, of 2 T: v1 at 0 and v2 at 2",)


def test_a_variant_stands_in_the_legend_once():
    pair = {"variants": ("v1", "v2")}
    beaten = with_figures(synthetic.results(lengths=(32,), **pair), "latency", "total_latency", {"v1": 3.0, "v2": 2.0})
    best = with_figures(synthetic.results(lengths=(64,), **pair), "latency", "total_latency", {"v1": 1.0, "v2": 2.0})
    (panel,) = pareto.at_every_length(joined(beaten, best)).panels
    named = [(one.name, one.faint, one.in_legend) for one in panel.series if one.form == "marks"]
    assert named == [("v1", False, True), ("v1, dominated", True, False), ("v2", False, True)]


def test_what_the_frontier_of_the_largest_length_beats_is_shaded(published):
    (panel,) = pareto.at_every_length(published).panels
    (shaded,) = line(panel, "region")
    right, top = PUBLISHED["v1"][0], PUBLISHED["v0"][1]
    (x0, y0), (x4, y4), (x3, y3) = (PUBLISHED[name] for name in ("v0", "v4", "v3"))
    corners = [(x0, top), (x0, y0), (x4, y0), (x4, y4), (x3, y4), (x3, y3), (right, y3), (right, top)]
    assert shaded == [pytest.approx(corner) for corner in corners]


def test_each_batch_size_is_a_panel():
    results = synthetic.results(lengths=(32, 64), batches=(1, 8))
    for make in MAKERS.values():
        chart = make(results)
        assert len(chart.panels) == 2
        assert {line.partition(":")[0] for line in chart.insights} == {"B = 1", "B = 8"}


def test_a_model_without_the_length_has_no_panel():
    both = joined(synthetic.results(lengths=(1024,)), elsewhere(synthetic.results(lengths=(64,)), model="nano"))
    (panel,) = tradeoff.at_one_length(both).panels
    assert panel.title.startswith("gpt2-medium")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("absent", ["latency", "memory"])
def test_without_either_family_each_chart_is_missing(name, absent):
    with pytest.raises(Missing, match="no variant has both its latency and its peak memory measured at one T"):
        MAKERS[name](having(synthetic.results(), *EVERY, without=(absent,)))


@pytest.mark.parametrize("name", MAKERS)
def test_without_a_variant_and_a_length_in_common_each_chart_is_missing(name):
    timed = having(synthetic.results(lengths=(32,)), *EVERY, without=("memory",))
    held = having(synthetic.results(lengths=(64,)), *EVERY, without=("latency",))
    with pytest.raises(Missing, match="at one T"):
        MAKERS[name](joined(timed, held))


@pytest.mark.parametrize("name", MAKERS)
def test_strangers_are_drawn_as_they_are_called(name):
    (panel,) = MAKERS[name](renamed(synthetic.results(), v2=STRANGER, v3=HOSTILE)).panels
    assert {STRANGER, HOSTILE} <= set(marks(panel))


places = st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda place: Point(*map(float, place)))
several = st.dictionaries(st.integers(), places, min_size=1, max_size=8)


@given(several)
def test_whatever_is_off_the_frontier_is_beaten_by_one_on_it(points):
    best = unbeaten(points)
    assert best and not any(beats(one, other) for one in best.values() for other in best.values())
    for name in points.keys() - best.keys():
        assert any(beats(one, points[name]) for one in best.values())
    falling = edge(best.values())
    assert all(before.x < after.x and before.y > after.y for before, after in pairwise(falling))


@given(several)
def test_the_region_behind_a_frontier_turns_at_right_angles(points):
    region = behind(edge(unbeaten(points).values()), 6.0, 6.0)
    turns = zip(region, (*region[1:], region[0]), strict=True)
    assert all((before.x == after.x) != (before.y == after.y) for before, after in turns if before != after)
    assert {one.x for one in region[-2:]} == {6.0} and region[-1].y == region[0].y == 6.0
