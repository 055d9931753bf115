"""The tables as files: Markdown and CSV show any name as it is, and are there whole or not at all."""

import csv
import io
import os
import re

import damage
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reshaped import renamed

from kvgpt import recorded
from kvgpt.report import tables
from kvgpt.report.tables import markdown, spreadsheet
from kvgpt.report.tabular import Column, Table

HOSTILE = ["=1+1", "a|b", "<script>alert(1)</script>", "two\nlines", "\\", "`x`", "[x](y)", "**", "{}%$#&_~^", '"\t']


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
    results = renamed(synthetic.results(lengths=(32, 64)), **names)
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
