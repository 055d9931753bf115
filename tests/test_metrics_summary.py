"""The metrics summary: the original's structure, its figures in their units, and nothing that was not measured."""

import json
from dataclasses import replace

import pytest
import synthetic

from kvgpt import strict_json
from kvgpt.report import metrics_summary, tables


def of(results, *families):
    return replace(results, cases=tuple(case for case in results.cases if case.family in families))


@pytest.fixture(scope="module")
def seven():
    return metrics_summary.summary(synthetic.results())


def test_it_has_the_structure_of_the_original(seven):
    assert list(seven)[2:] == ["latency", "vram", "per_phase_T256", "per_phase_T512", "max_batch", "perplexity"]
    assert list(seven["latency"]) == list(synthetic.CURVES)
    assert list(seven["latency"]["v0"]) == ["points", "fit_total_ms_vs_T", "fit_per_token_ms_vs_T"]
    assert seven["subject"] == "gpt2-medium (pretrained), bfloat16, cuda, B = 1"


def test_points_are_in_the_units_that_their_names_say(seven):
    point = seven["latency"]["v1"]["points"][-1]
    total = 0.0000578 * 1024**2 + 3.17 * 1024 + 1.06
    assert point["T"] == 1024 and point["total_ms"] == pytest.approx(total)
    assert point["per_token_ms_interval"] == pytest.approx([0.98 * total / 1024, 1.02 * total / 1024])
    assert seven["vram"]["v0"]["points"][0]["cache_MB"] == 0
    assert seven["per_phase_T512"]["v0"]["attention_ms"] == pytest.approx(1018.7)
    (load,) = seven["max_batch"].values()
    assert load["v1"]["max_batch"] == 888


def test_fits_have_the_coefficients_of_the_curves_that_the_points_lie_on(seven):
    for variant, curve in synthetic.CURVES.items():
        fit = seven["latency"][variant]["fit_total_ms_vs_T"]
        assert fit["coefficients"] == pytest.approx(curve, rel=1e-6)
        assert fit["r_squared"] == pytest.approx(1.0)


def test_perplexities_are_apart_by_mode_and_text(seven):
    forced, alone = seven["perplexity"]
    assert forced.startswith("teacher forced, 287,643 tokens") and alone.startswith("autoregressive, 4,096 tokens")
    assert seven["perplexity"][alone]["v2"]["degradation_percent"] == pytest.approx(100 * (21.73 / 21.72 - 1))


def test_other_batch_sizes_and_models_have_the_same_structure_under_their_titles():
    one = synthetic.results(lengths=(32, 1024), batches=(8, 1))
    other = tuple(replace(case, workload={**case.workload, "model": "gpt2"}) for case in one.cases)
    made = metrics_summary.summary(replace(one, cases=(*one.cases, *other)))
    assert made["subject"].endswith("B = 1")
    assert [title.partition(" ")[0] + title[-7:] for title in made["others"]] == [
        "gpt2-medium, B = 8",
        "gpt2, B = 1",
        "gpt2, B = 8",
    ]
    medium, small, large = made["others"].values()
    assert "max_batch" not in medium and "max_batch" in small and "max_batch" not in large
    assert medium["latency"]["v1"]["points"][0]["T"] == 32


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("latency", ["latency"]),
        ("memory", ["vram"]),
        ("phases", ["per_phase_T256", "per_phase_T512"]),
        ("capacity", ["max_batch"]),
        ("perplexity", ["perplexity"]),
    ],
)
def test_what_was_not_measured_has_no_key(family, keys):
    assert list(metrics_summary.summary(of(synthetic.results(), family)))[2:] == keys


def test_of_nothing_there_is_no_summary(tmp_path):
    floors = of(synthetic.results(), "floor")
    assert metrics_summary.summary(floors) == {}
    assert not [path for path in tables.write(floors, tmp_path) if path.suffix == ".json"]


def test_what_is_not_valid_says_why_and_no_fit_goes_through_it():
    results = synthetic.results(variants=("v1",), lengths=(32, 64, 128, 256, 1024))
    cases = [
        replace(
            case,
            valid=False,
            notes=("throttled",),
            metrics={**case.metrics, "total_latency": {"value": 1e9}, "per_token_latency": {"value": 1e9}},
        )
        if case.workload.get("new_tokens") == 64 and case.family == "latency"
        else case
        for case in results.cases
    ]
    made = metrics_summary.summary(replace(results, cases=tuple(cases)))["latency"]["v1"]
    assert [point.get("not_valid") for point in made["points"]] == [None, ["throttled"], None, None, None]
    assert made["fit_total_ms_vs_T"]["coefficients"] == pytest.approx(synthetic.CURVES["v1"], rel=1e-6)


def test_a_single_length_has_no_fit():
    made = metrics_summary.summary(synthetic.results(lengths=(1024,)))
    assert list(made["latency"]["v1"]) == ["points"]


def test_a_figure_beyond_the_largest_number_is_left_out():
    results = synthetic.results(variants=("v1",), lengths=(32,))
    cases = tuple(
        replace(case, metrics={**case.metrics, "total_latency": {"value": 1.7e308}})
        if case.family == "latency"
        else case
        for case in results.cases
    )
    (point,) = metrics_summary.summary(replace(results, cases=cases))["latency"]["v1"]["points"]
    assert "total_ms" not in point and "per_token_ms" in point


def test_the_file_is_strict_json_that_reads_back_the_same(tmp_path):
    results = synthetic.results()
    tables.write(results, tmp_path)
    made = strict_json.read(tmp_path / "metrics_summary.json", 2**24, "a metrics summary")
    assert made == json.loads(json.dumps(metrics_summary.summary(results)))
