"""The tables: what they show, and what the rules make of it."""

from dataclasses import replace

import pytest
import synthetic
from tabled import changed, is_of, named, of, row, without

from kvgpt.record import metric
from kvgpt.report import metrics_summary, tables
from kvgpt.report.tables import status
from kvgpt.report.tables.standing import fields

FAMILIES = ("latency", "memory", "phases", "capacity", "perplexity")


def test_every_table_comes_in_its_order_under_a_name_of_its_own():
    names = [table.name for table in tables.every(synthetic.results(lengths=(32, 1024)))]
    assert names == [
        "summary",
        "use_cases",
        "latency_total",
        "latency_per_token",
        "memory_peak",
        "memory_cache",
        "phases_T256",
        "phases_T512",
        "capacity",
        "perplexity",
        "perplexity_2",
        "break_even",
    ]


def test_batch_sizes_have_tables_of_their_own():
    made = tables.every(synthetic.results(lengths=(32, 1024), batches=(1, 8)))
    titles = {table.name: table.title for table in made}
    assert titles["latency_total"].endswith("B = 1") and titles["latency_total_2"].endswith("B = 8")
    assert len(titles) == len(made)


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("latency", {"summary", "use_cases", "latency_total", "latency_per_token", "break_even"}),
        ("memory", {"summary", "use_cases", "memory_peak", "memory_cache", "break_even"}),
        ("phases", {"phases_T256", "phases_T512"}),
        ("capacity", {"summary", "use_cases", "capacity"}),
        ("perplexity", {"summary", "use_cases", "perplexity", "perplexity_2"}),
        ("floor", set()),
    ],
)
def test_of_one_family_there_are_the_tables_that_it_has_figures_for(family, names, tmp_path):
    results = of(synthetic.results(lengths=(32, 1024)), family)
    assert {table.name for table in tables.every(results)} == names
    written = {path.relative_to(tmp_path).as_posix() for path in tables.write(results, tmp_path)}
    assert {f"tables/{name}.csv" for name in names} <= written
    assert bool(written) == bool(names)


def test_the_summary_has_each_variant_at_the_largest_length():
    shown = row(named(synthetic.results(), "summary"), "v1")
    assert shown["Cache"] == "dense"
    assert shown["Total (ms)"] == pytest.approx(0.0000578 * 1024**2 + 3.17 * 1024 + 1.06)
    assert shown["Per token (ms)"] == pytest.approx(shown["Total (ms)"] / 1024)
    assert shown["Perplexity"] == 21.72 and shown["Largest batch"] == 888


def test_what_was_not_measured_of_a_variant_is_unknown_and_its_status_says_so():
    table = named(without(synthetic.results(), is_of("v2", "perplexity")), "summary")
    assert row(table, "v2")["Perplexity"] is None
    assert row(table, "v2")["Status"] == "incomplete: perplexity"
    assert "-" in table.printed()[2]


def test_time_and_memory_are_of_the_largest_length_and_the_smallest_batch_that_both_have():
    results = synthetic.results(lengths=(32, 512, 1024), batches=(1, 4, 8))
    results = without(results, lambda case: case.family == "memory" and case.workload["new_tokens"] == 1024)
    results = without(results, lambda case: case.family == "latency" and case.workload["batch_size"] == 1)
    (field,) = fields(results)
    assert (field.length, field.batch_size) == (512, 4)
    assert "T = 512, B = 4" in named(results, "summary").notes[0]


def test_models_have_summaries_of_their_own():
    one = synthetic.results(lengths=(32,))
    other = [replace(case, workload={**case.workload, "model": "gpt2"}) for case in one.cases]
    titles = [field.title for field in fields(replace(one, cases=(*one.cases, *other)))]
    assert titles == ["gpt2-medium (pretrained), bfloat16, cuda", "gpt2 (pretrained), bfloat16, cuda"]


STATUSES = [  # perplexity's change, latency and largest batch over the reference's -> status
    (0.0, 1.0, 1.0, "✓ production"),
    (0.01, 1.5, None, "✓ production"),
    (0.011, 1.0, 1.0, "⚠ quality"),
    (0.10, 1.0, 1.0, "⚠ quality"),
    (0.11, 1.0, 1.0, "✗ quality"),
    (0.11, None, None, "✗ quality"),
    (0.0, 1.51, 1.19, "✗ slow"),
    (0.0, 1.51, 1.2, "⚠ capacity only"),
    (0.0, 1.51, None, "incomplete: largest batch"),
    (None, 1.0, 1.0, "incomplete: perplexity"),
    (None, None, None, "incomplete: perplexity, per-token latency"),
]


@pytest.mark.parametrize(("change", "slowdown", "room", "expected"), STATUSES)
def test_the_status_follows_from_the_rules(change, slowdown, room, expected):
    figures = [
        ("latency", "per_token_latency", slowdown, 2**-8),
        ("capacity", "max_batch", room, 1000),
        ("perplexity", "perplexity", None if change is None else 1 + change, 20.0),
    ]
    results = synthetic.results(variants=("v1", "v2"), lengths=(1024,))
    results = without(results, lambda case: case.workload.get("mode") == "teacher_forced")
    for family, name, ratio, reference in figures:
        results = changed(results, is_of("v1", family), **{name: reference})
        if ratio is None:
            results = without(results, is_of("v2", family))
        else:
            results = changed(results, is_of("v2", family), **{name: ratio * reference})
            if family == "perplexity":
                results = changed(results, is_of("v2", family), perplexity_change=change)
    assert row(named(results, "summary"), "v2")["Status"] == expected


def test_what_recomputes_is_the_baseline():
    assert row(named(synthetic.results(), "summary"), "v0")["Status"] == "Baseline"


def test_the_thresholds_stand_under_the_table_that_applies_them(monkeypatch):
    (said,) = status.RULES
    for threshold in ("1%", "10%", "1.5", "1.2"):
        assert threshold in said
    assert said in named(synthetic.results(), "summary").notes


def test_a_figure_that_is_not_valid_is_shown_marked_and_decides_nothing():
    results = changed(synthetic.results(), is_of("v2", "latency"), valid=False)
    table = named(results, "summary")
    shown = row(table, "v2 *")
    assert shown["Per token (ms)"] == pytest.approx(6.59, abs=0.01)
    assert shown["Status"] == "incomplete: per-token latency"
    assert any("v2, latency at T = 1024: throttled" in note for note in table.notes)
    assert any("v2, latency at T = 32: throttled" in note for note in named(results, "latency_total").notes)


def test_the_degradation_of_results_without_one_is_worked_out_from_the_reference():
    results = synthetic.results()
    bare = replace(
        results,
        cases=tuple(
            replace(case, metrics={name: one for name, one in case.metrics.items() if name != "perplexity_change"})
            for case in results.cases
        ),
    )
    shown = row(named(bare, "perplexity"), "v3")
    assert shown["Degradation (%)"] == pytest.approx(100 * (779.90 / 21.72 - 1), abs=1e-3)
    assert shown["± (%)"] is None
    assert row(named(bare, "summary"), "v3")["Status"] == "✗ quality"


def test_a_change_that_rounds_to_nothing_has_no_minus():
    results = changed(synthetic.results(), is_of("v0", "perplexity"), perplexity_change=-1e-9)
    place = [row[0] for row in named(results, "perplexity").rows].index("v0")
    assert "+0.000" in named(results, "perplexity").printed()[place]


def test_perplexities_of_different_texts_are_in_different_tables():
    results = synthetic.results()
    other = changed(results, is_of("v2", "perplexity"))
    cases = tuple(
        replace(case, workload={**case.workload, "corpus_sha256": "1" * 64}) if case.variant == "v2" else case
        for case in other.cases
    )
    made = [table for table in tables.every(replace(results, cases=cases)) if table.title.startswith("Perplexity")]
    assert [[row[0] for row in table.rows] for table in made].count(["v2"]) == 2


def test_training_and_inference_are_different_loads():
    results = synthetic.results()
    training = tuple(
        replace(case, workload={**case.workload, "mode": "training"}) for case in of(results, "capacity").cases
    )
    both = replace(results, cases=(*training, *results.cases))
    made = [table.title for table in tables.every(both) if table.name.startswith("capacity")]
    assert ["training" in title for title in made] == [True, False]
    (field,) = fields(both)
    assert field.load.startswith("inference")


def test_a_sequence_takes_the_peak_less_the_weights_over_the_batch():
    results = changed(
        synthetic.results(),
        is_of("v1", "capacity"),
        peak_memory=5_000_000,
        weights_bytes=1_000_000,
        max_batch=4,
    )
    assert row(named(results, "capacity"), "v1")["A sequence (MB)"] == 1.0
    assert row(named(results, "capacity"), "v2")["Batch/v1"] == pytest.approx(1324 / 4)


def test_a_length_that_a_variant_was_not_measured_at_is_unknown():
    results = without(
        synthetic.results(lengths=(32, 64)), lambda case: case.variant == "v1" and case.workload.get("new_tokens") == 64
    )
    table = named(results, "latency_total")
    assert [row[0] for row in table.rows] == [32, 64]
    assert row(table, 64)["v1"] is None and row(table, 64)["v0"] is not None


def test_tables_of_one_batch_size_say_which_so_that_a_page_filters_by_it():
    made = tables.every(synthetic.results(lengths=(32, 64), batches=(1, 8)))
    sizes = {table.name: table.batch_size for table in made}
    for name in ("latency_total", "latency_per_token", "memory_peak", "memory_cache", "phases_T256", "phases_T512"):
        assert (sizes[name], sizes[f"{name}_2"]) == (1, 8)
    assert {sizes[name] for name in ("summary", "capacity", "perplexity", "break_even")} == {None}


def test_only_generations_from_one_token_are_against_t_and_the_first_of_several_counts():
    results = synthetic.results(variants=("v1",), lengths=(32,))
    (first,) = of(results, "latency").cases
    slower = {**first.metrics, "total_latency": metric("total_latency", 99.0)}
    prompted = replace(first, workload={**first.workload, "prompt": 16}, metrics=slower)
    again = replace(results, cases=(prompted, *results.cases, replace(first, metrics=slower)))
    assert named(again, "latency_total").rows == named(results, "latency_total").rows
    assert named(again, "summary").rows == named(results, "summary").rows
    assert metrics_summary.summary(again) == metrics_summary.summary(results)
