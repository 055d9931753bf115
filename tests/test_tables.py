"""The tables: what they show, what the rules make of it, and that their files show any name as it is."""

import csv
import io
import os
import re
from dataclasses import replace

import damage
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgpt import recorded
from kvgpt.record import metric
from kvgpt.report import metrics_summary, tables
from kvgpt.report.tables import markdown, spreadsheet, status, use_cases
from kvgpt.report.tables.standing import fields
from kvgpt.report.tabular import Column, Table

FAMILIES = ("latency", "memory", "phases", "capacity", "perplexity")
HOSTILE = ["=1+1", "a|b", "<script>alert(1)</script>", "two\nlines", "\\", "`x`", "[x](y)", "**", "{}%$#&_~^", '"\t']


def of(results, *families):
    return replace(results, cases=tuple(case for case in results.cases if case.family in families))


def changed(results, choose, **figures):
    """The results with other figures, valid or not, in the cases that are chosen."""
    valid = figures.pop("valid", True)
    return replace(
        results,
        cases=tuple(
            replace(
                case,
                valid=valid,
                notes=() if valid else ("throttled",),
                metrics={**case.metrics, **{name: metric(name, value) for name, value in figures.items()}},
            )
            if choose(case)
            else case
            for case in results.cases
        ),
    )


def without(results, choose):
    return replace(results, cases=tuple(case for case in results.cases if not choose(case)))


def renamed(results, names):
    return replace(
        results,
        cases=tuple(replace(case, variant=names.get(case.variant, case.variant)) for case in results.cases),
    )


def is_of(variant, family):
    return lambda case: case.variant == variant and case.family == family


def named(results, name):
    return next(table for table in tables.every(results) if table.name == name)


def row(table, first):
    found = next(row for row in table.rows if row[0] == first)
    return {column.heading: cell for column, cell in zip(table.columns, found, strict=True)}


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


def choices(results):
    return {use: (variant, why) for use, variant, why in named(results, "use_cases").rows}


def test_each_use_has_the_variant_whose_figure_decides():
    made = choices(synthetic.results())
    assert {use: variant for use, (variant, _) in made.items()} == {
        "Production inference": "v1",
        "Latency-critical": "v1",
        "High-throughput batch": "v2",
        "Long contexts, memory-bound": "v2",
        "Research (quality)": "v1",
    }
    assert made["Latency-critical"][1] == "per-token latency 3.23 ms, the lowest; next v2: 6.591 ms"


def test_in_production_a_tie_goes_to_what_is_simpler_and_where_latency_is_critical_it_does_not():
    results = changed(synthetic.results(), is_of("v3", "perplexity"), perplexity=21.72, perplexity_change=0.0)
    near = changed(results, is_of("v3", "latency"), per_token_latency=0.98 * synthetic.total("v1", 1024) / 1024)
    assert choices(near)["Production inference"][0] == "v1"
    assert "tied with the lowest (v3: 3.166 ms)" in choices(near)["Production inference"][1]
    assert choices(near)["Latency-critical"][0] == "v3"
    assert choices(results)["Production inference"][0] == "v3"


def test_throughput_decides_where_it_was_measured_else_the_largest_batch_of_what_keeps_a_cache():
    results = synthetic.results()
    assert choices(results)["High-throughput batch"] == ("v2", "largest batch 1324, the highest; next v1: 888")
    faster = changed(results, is_of("v1", "capacity"), throughput=2000.0)
    faster = changed(faster, is_of("v2", "capacity"), throughput=1000.0)
    assert choices(faster)["High-throughput batch"][0] == "v1"


def test_of_equal_perplexities_the_fastest_is_for_research():
    results = changed(synthetic.results(), is_of("v3", "perplexity"), perplexity=21.7201, perplexity_change=0.0)
    assert choices(results)["Research (quality)"] == (
        "v3",
        "perplexity 21.7201, tied with the lowest (v1: 21.72) and faster",
    )


def test_no_use_is_recommended_a_variant_of_another_quality():
    results = changed(
        synthetic.results(), lambda case: case.variant != "v3" and case.family == "perplexity", valid=False
    )
    made = choices(results)
    assert made["Production inference"] == ("none", "no variant's valid perplexity is at most 1% above v1's")
    assert made["Research (quality)"][0] == "v3"


def test_a_use_whose_figures_are_missing_has_no_variant():
    made = choices(of(synthetic.results(), "perplexity"))
    assert made["Latency-critical"] == (
        "none",
        "no per-token latency of an admissible variant was measured and is valid",
    )
    assert made["Research (quality)"][0] == "v1"


def test_the_tie_stands_under_the_table():
    assert f"{use_cases.TIE:.0%}" in named(synthetic.results(), "use_cases").notes[1]


def cells(line):
    """The cells of a line of Markdown, as it reads them."""
    return re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]


@given(names=st.lists(st.text(max_size=12) | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_markdown_keeps_its_columns_and_lines_whatever_the_names(names):
    table = Table(
        "n", names[0], (Column(names[0]), Column("x", ".1f")), tuple((name, 1.0) for name in names), (names[0],)
    )
    lines = markdown.section(table).split("\n")
    assert len(lines) == 2 + 2 + len(names) + 1 + 1 + 1
    assert {len(cells(line)) for line in lines[2 : 4 + len(names)]} == {2}
    assert not any("<" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("&lt;", "&amp;lt;"),
        ("<b>", "&lt;b>"),
        ("a|b", r"a\|b"),
        ("\\", r"\\"),
        ("[x](y)", r"\[x](y)"),
        ("a\r\nb", "a  b"),
    ],
)
def test_markup_in_a_name_is_shown_as_it_is(name, shown):
    assert markdown.escape(name) == shown


def test_markdown_lines_up_and_aligns_numbers_to_the_right():
    table = Table("n", "t", (Column("Version"), Column("x", ".1f")), (("a|b", 1.0), ("c", None)))
    assert markdown.section(table) == (
        "## t\n\n| Version |   x |\n|---------|----:|\n| a\\|b    | 1.0 |\n| c       |   - |\n"
    )


@given(name=st.text(max_size=12) | st.sampled_from(HOSTILE), value=st.floats(allow_nan=False))
def test_csv_has_no_formulas_and_its_numbers_read_back_the_same(name, value):
    table = Table("n", "t", (Column(name), Column("x", ".1f"), Column("y")), ((name, value, None),))
    heading, (shown, number, nothing) = csv.reader(io.StringIO(spreadsheet.document(table), newline=""))
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) and heading[0] == shown
    assert shown.removeprefix("'") == name.removeprefix("'")
    assert float(number) == value and not nothing


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_name_that_begins_like_a_formula_is_quoted(formula):
    text = spreadsheet.document(Table("n", "t", (Column("x"),), ((formula,),)))
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == [f"'{formula}"]


def test_negative_numbers_stay_numbers():
    assert spreadsheet.document(Table("n", "t", (Column("x", ".1f"),), ((-1.5,),))) == "x\r\n-1.5\r\n"


def test_files_are_written_and_the_same_each_time(tmp_path):
    results = synthetic.results(lengths=(32, 64, 128, 256, 1024))
    first, second = (tables.write(results, tmp_path / place) for place in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    names = {path.name for path in first}
    assert {"benchmark_tables.tex", "summary.md", "perplexity_table.md", "metrics_summary.json"} < names
    assert "| v1      |    21.7200 | 3.0782 |          +0.000 |" in (tmp_path / "a" / "perplexity_table.md").read_text()
    assert set(first) == {path for path in (tmp_path / "a").rglob("*") if path.is_file()}


def test_hostile_names_reach_every_file(tmp_path):
    variants = list(synthetic.CURVES)
    names = dict(zip([name for name in variants if name != "v1"], [*HOSTILE[:5], "\ud800"], strict=True))
    results = renamed(synthetic.results(lengths=(32, 64)), names)
    for path in tables.write(results, tmp_path):
        assert path.read_bytes().decode("utf-8")
        assert b"<script>" not in path.read_bytes() or path.suffix not in {".md", ".tex"}


SMALL = synthetic.document(variants=("v0", "v1"), lengths=(32, 64))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=damage.altered(SMALL))
def test_a_results_file_of_anything_is_refused_or_becomes_tables(tmp_path, changed):
    path = tmp_path / "out.json"
    path.write_bytes(changed)
    damage.refused(lambda: tables.write(recorded.read(path), tmp_path / "report"), path)


def test_a_file_that_cannot_be_written_whole_leaves_the_one_before(tmp_path, monkeypatch):
    results = synthetic.results(lengths=(32,))
    before = {path: path.read_bytes() for path in tables.write(results, tmp_path)}

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        tables.write(synthetic.results(lengths=(64,)), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
