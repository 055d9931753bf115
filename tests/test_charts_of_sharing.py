"""Charts of what sharing saves and costs, and of the loss by position."""

import math
from pathlib import Path

import pytest

from kvgpt import record
from kvgpt.record import metric
from kvgpt.recorded import Case, Results, Workload
from kvgpt.report.chart import Missing
from kvgpt.report.charts import by_position, sharing

TEXT = {"corpus": "embedded", "corpus_sha256": "a" * 64, "dtype": "float32", "device": "cpu", "context": 256}


def case(variant, perplexity, held, model="nano", reference="nano", divergence=0.1, family="sharing", **details):
    metrics = {"perplexity": metric("perplexity", perplexity), "nll": metric("nll", math.log(perplexity))}
    metrics["cache_bytes"] = metric("cache_bytes", held)
    metrics["perplexity_change"] = metric("perplexity_change", perplexity / 3.3 - 1)
    if divergence is not None:
        metrics["kl_divergence"] = metric("kl_divergence", divergence)
    workload = {**TEXT, "model": model, "reference": reference, "mode": "teacher_forced"}
    made = record.record(family, variant, variant, workload, metrics, details=details)
    name = f"{model}-{variant}"
    return Case(name, family, variant, variant, Workload(workload, name), made["metrics"], True, (), details)


CASES = (
    case("v1", 3.3, 512_000, divergence=None),
    case("v3", 31.0, 256_000),
    case("dense+cla2+calign", 4.3, 256_000),
    case("dense+cla2", 3.4, 256_000, model="sisters/nano-cla2"),
    case("int8+cla2", 3.41, 132_000, model="sisters/nano-cla2"),
)


def results(*cases):
    return Results(Path("results.json"), {"kind": "cpu", "name": "a CPU"}, cases)


def test_each_way_has_its_marks_at_bytes_and_perplexity_and_the_reference_a_line():
    chart = sharing.ways(results(*CASES))
    panel = chart.panels[0]
    marks = {series.name: [(point.label, point.x, point.y) for point in series.points] for series in panel.series}
    assert marks == {
        "nothing shared": [("", 512, 3.3)],
        "shared, never trained for it": [("v3", 256, 31)],
        "keys and values aligned": [("", 256, 4.3)],
        "trained or healed with it": [("", 256, 3.4)],
        "trained or healed, int8": [("", 132, 3.41)],
    }
    assert len({series.variant for series in panel.series}) == 5, "two ways share a look"
    (rule,) = panel.rules
    assert (rule.axis, rule.at) == ("y", 3.3) and panel.y.scale == "log" and panel.x.low == 0
    assert panel.x.label == "cache of a sequence of 256 tokens (kB)"
    assert "v3 +839.4%, dense+cla2+calign +30.3% and nano-cla2 +3.0%" in chart.insights[0]


def test_who_comes_near_the_reference_has_a_panel_without_the_others():
    near = sharing.ways(results(*CASES)).panels[1]
    labels = [point.label for series in near.series for point in series.points]
    assert labels == ["v1", "dense+cla2+calign", "nano-cla2", ""], "codes stand where their model is named"
    assert near.y.scale == "linear" and near.title == "the same, up to 1.35 times v1's"
    assert len(sharing.ways(results(*CASES[:2])).panels) == 1, "nobody but the reference"


def test_runs_against_different_references_have_panels_of_their_own():
    other = case("v1", 5.0, 512_000, model="mine", reference="mine", divergence=None)
    titles = [panel.title for panel in sharing.ways(results(*CASES, other)).panels]
    assert [title.split(",")[0] for title in titles] == ["nano", "the same", "mine"]


def test_without_a_reference_there_is_no_line():
    assert sharing.ways(results(*CASES[1:])).panels[0].rules == ()


def test_nothing_compared_is_said():
    with pytest.raises(Missing, match="no ways of sharing were compared"):
        sharing.ways(results())


def test_a_curve_of_each_variant_runs_along_its_positions():
    curves = {"v1": [[1, 1, 2.0], [2, 3, 1.5], [4, 7, 1.0]], "v2": [[1, 1, 2.1], [2, 3, 1.6], [4, 7, 1.1]]}
    cases = [case(name, 3.0, 1, family="perplexity", loss_by_position=rows) for name, rows in curves.items()]
    (panel,) = by_position.compared(results(*cases)).panels
    assert [(series.name, [point.x for point in series.points]) for series in panel.series] == [
        ("v1", [1, 2, 4]),
        ("v2", [1, 2, 4]),
    ]
    assert panel.series[1].points[2].y == pytest.approx(math.exp(1.1)) and panel.x.scale == "log2"


@pytest.mark.parametrize("kept", ["text", [], [["a", 1, 2]], [[0, 1, 2.0]], [[1, 2]], [[1, 1, 1e9]], {"a": 1}])
def test_what_is_no_loss_by_position_is_not_drawn(kept):
    with pytest.raises(Missing, match="no loss was kept by position"):
        by_position.compared(results(case("v1", 3.0, 1, family="perplexity", loss_by_position=kept)))
