"""Charts of capacity: how many fit, in multiples of the reference, and what storage and sharing do together."""

import pytest
import synthetic
from reshaped import HOSTILE, STRANGER, elsewhere, having, joined, less, renamed, with_figures

from kvgpt.report.chart import Missing
from kvgpt.report.charts import capacity, charts

EVERY = tuple(synthetic.CURVES)
PUBLISHED = {"v0": 491, "v1": 491, "v2": 594, "v3": 745, "v4": 1867}
MAKERS = {
    "comparison_max_batch_capacity": capacity.sequences,
    "comparison_peak_memory_at_max_batch": capacity.peaks,
}


@pytest.fixture(scope="module")
def results():
    return with_figures(
        having(synthetic.results(), *PUBLISHED), "capacity", "max_batch", PUBLISHED, {"v4": (1860, 1867)}
    )


def heights(panel):
    return {panel.x.names[int(point.x)]: point.y for one in panel.series for point in one.points}


def recorded(results, metric):
    return {one.variant: one.value(metric) for one in results.of("capacity", metric)}


@pytest.mark.parametrize("name", MAKERS)
def test_each_chart_bears_its_name_and_is_in_the_catalogue(results, name):
    assert MAKERS[name](results).name == name
    assert name in {chart.name for chart in charts(results)[0]}


def test_each_variant_is_a_bar_with_its_multiple_of_the_reference(results):
    (panel,) = capacity.sequences(results).panels
    assert (panel.x.scale, panel.y.label, panel.y.scale, panel.y.low) == ("names", "sequences that fit", "linear", 0)
    assert heights(panel) == PUBLISHED
    assert [one.points[0].label for one in panel.series] == [
        "491 (1.00x)",
        "491",
        "594 (1.21x)",
        "745 (1.52x)",
        "1,867 (3.80x)",
    ]
    assert panel.title == "inference, T = 512, 48 GB of memory: gpt2-medium (pretrained), bfloat16, cuda"
    last = panel.series[-1].points[0]
    assert (last.low, last.high, last.length) == (1860, 1867, 512)


def test_synthetic_capacities_are_those_of_the_closed_form():
    results = synthetic.results()
    (panel,) = capacity.sequences(results).panels
    assert panel.x.names == EVERY and heights(panel) == recorded(results, "max_batch")


def test_the_references_capacity_is_a_line_and_the_largest_multiple_is_called_out(results):
    chart = capacity.sequences(results)
    (panel,) = chart.panels
    assert [(one.axis, one.at, one.label) for one in panel.rules] == [("y", 491, "v1: 491")]
    (callout,) = panel.callouts
    assert (callout.text, callout.x, callout.y) == ("3.80 times as many as in v1", 4, 1867)
    assert chart.insights[0] == "v4 holds 3.80 times as many sequences as v1: 1,867 against 491"


def test_storage_and_sharing_together_stand_beside_the_product_of_both_alone(results):
    assert capacity.sequences(results).insights[1:] == (
        "storage and sharing together, v4: 3.80 times; v2 alone 1.21 and v3 alone 1.52, whose product is 1.84",
    )


@pytest.mark.parametrize("absent", ["v1", "v2", "v3", "v4"])
def test_without_all_three_and_the_reference_nothing_is_said_of_them_together(results, absent):
    fewer = having(results, *(name for name in PUBLISHED if name != absent))
    assert not any("together" in line for line in capacity.sequences(fewer).insights)


def test_where_nobody_holds_more_than_the_reference_nothing_is_called_out(results):
    chart = capacity.sequences(with_figures(results, "capacity", "max_batch", dict.fromkeys(PUBLISHED, 7)))
    assert chart.panels[0].callouts == () and not any("holds" in line for line in chart.insights)


def test_without_the_reference_there_are_no_multiples(results):
    chart = capacity.sequences(having(results, "v0", "v4"))
    (panel,) = chart.panels
    assert [one.points[0].label for one in panel.series] == ["491", "1,867"]
    assert panel.rules == panel.callouts == chart.insights == ()


def test_a_reference_that_holds_none_has_no_multiples(results):
    chart = capacity.sequences(with_figures(results, "capacity", "max_batch", {"v1": 0}))
    (panel,) = chart.panels
    assert heights(panel)["v1"] == 0 and panel.rules[0].at == 0 and panel.callouts == chart.insights == ()


def test_training_is_a_panel_of_its_own_after_inference(results):
    trained = elsewhere(having(results, "v0", "v3"), mode="training", memory_budget=10**9)
    chart = capacity.sequences(joined(trained, results))
    inference, training = chart.panels
    assert inference.title.startswith("inference, T = 512, 48 GB of memory: ")
    assert training.title.startswith("training, T = 512, 1 GB of memory: ") and training.x.names == ("v0", "v3")
    assert {line.partition(": ")[0] for line in chart.insights} == {"inference, T = 512, 48 GB of memory"}


def test_a_record_that_does_not_say_its_mode_is_of_inference(results):
    (panel,) = capacity.sequences(elsewhere(results, mode=None, memory_budget=None)).panels
    assert panel.title == "inference, T = 512: gpt2-medium (pretrained), bfloat16, cuda"


@pytest.mark.parametrize("budget", [None, "all of it", True, -1])
def test_without_a_budget_in_bytes_the_peaks_stand_alone(results, budget):
    (panel,) = capacity.peaks(elsewhere(results, memory_budget=budget)).panels
    assert panel.rules == () and "of memory" not in panel.title


def test_peaks_are_in_gigabytes_on_an_axis_around_them(results):
    chart = capacity.peaks(results)
    (panel,) = chart.panels
    peaks = {name: value / 1e9 for name, value in recorded(results, "peak_memory").items()}
    assert panel.y.label == "peak memory (GB)" and heights(panel) == pytest.approx(peaks)
    assert 47 < panel.y.low < min(peaks.values()) and 48 < panel.y.high < 49
    assert [(one.axis, one.at) for one in panel.rules] == [("y", 48.0)]
    assert chart.insights == ("the peaks lie within 0.07% of the largest: 47.96 GB to 48 GB",)


def test_peaks_that_differ_widely_are_all_on_the_axis(results):
    (panel,) = capacity.peaks(with_figures(results, "capacity", "peak_memory", {"v1": 1e6})).panels
    assert panel.y.low == 0 and panel.y.high > 48


@pytest.mark.parametrize("name", MAKERS)
def test_strangers_are_drawn_as_they_are_called(results, name):
    (panel,) = MAKERS[name](renamed(results, v2=STRANGER, v3=HOSTILE)).panels
    assert panel.x.names == ("v0", "v1", STRANGER, HOSTILE, "v4")


@pytest.mark.parametrize("name", MAKERS)
def test_without_the_figures_each_chart_is_missing(results, name):
    for one in (having(results, *EVERY, without=("capacity",)), less(results, "capacity", "max_batch", "peak_memory")):
        with pytest.raises(Missing, match="was measured"):
            MAKERS[name](one)
