"""Points as CSV: all of them, in their units, as numbers, and no text that a spreadsheet would compute."""

import csv
import os

import pytest

from kvgpt import whole
from kvgpt.report import points
from kvgpt.report.chart import Axis, Chart, Panel, Point, Series


def chart(*series, name="chart", x=None, title="nano"):
    x = Axis("new tokens T", "log2") if x is None else x
    return Chart(name, "A chart", (Panel(title, x, Axis("latency (ms)"), series),))


def rows(one):
    return list(csv.DictReader(points.text(one).splitlines()))


def test_a_point_is_a_line_with_its_axes_and_what_it_is_of():
    one = Point(512.0, 0.1 + 0.2, 0.25, 0.5, "2.0x", length=512, batch_size=8)
    (row,) = rows(chart(Series("v1, fitted", "line", (one,), variant="v1")))
    assert row == {
        "panel": "nano",
        "series": "v1, fitted",
        "variant": "v1",
        "phase": "",
        "form": "line",
        "x_axis": "new tokens T",
        "x": "512.0",
        "x_name": "",
        "y_axis": "latency (ms)",
        "y": repr(0.1 + 0.2),
        "low": "0.25",
        "high": "0.5",
        "label": "2.0x",
        "length": "512",
        "batch_size": "8",
    }


def test_what_was_not_measured_is_empty():
    (row,) = rows(chart(Series("attention", "bars", (Point(0.0, 0.0),), phase="attention")))
    assert (row["low"], row["high"], row["length"], row["batch_size"]) == ("",) * 4
    assert row["y"] == "0.0" and row["phase"] == "attention"


def test_a_place_among_names_is_named():
    bars = Series("v1", "bars", tuple(Point(x, 1.0) for x in (0.0, 1.0, 0.5, 2.0, -1.0)))
    named = rows(chart(bars, x=Axis("", "names", names=("v1", "v2"))))
    assert [row["x_name"] for row in named] == ["v1", "v2", "", "", ""]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_text_is_a_formula_and_every_number_is_a_number(start):
    hostile = f"{start}cmd|' /C calc'!A0"
    series = Series(hostile, "bars", (Point(0.0, -1.5, -2.0, -1.0, hostile),), variant=hostile)
    one = chart(series, x=Axis(hostile, "names", names=(hostile,)), title=hostile)
    (row,) = csv.DictReader(points.text(one).splitlines(keepends=True))
    for field in ("panel", "series", "variant", "x_axis", "x_name", "label"):
        assert row[field] == "'" + hostile
    assert [row[field] for field in ("y", "low", "high")] == ["-1.5", "-2.0", "-1.0"]


def test_lines_end_as_the_standard_says_and_commas_and_quotes_are_quoted(tmp_path):
    (path,) = points.write([chart(Series('a,"b"\nc', "marks", (Point(1.0, 2.0),)))], tmp_path)
    header, rest = path.read_bytes().split(b"\r\n", 1)
    assert header.decode() == ",".join(points.HEADINGS)
    assert rest.startswith(b'nano,"a,""b""\nc",,,marks,') and rest.endswith(b"\r\n")


def test_each_chart_has_a_file_of_its_name_the_same_each_time(tmp_path):
    charts = [chart(Series("v1", "marks", (Point(1.0, 2.0),)), name=name) for name in ("one", "two")]
    once = [path.read_bytes() for path in points.write(charts, tmp_path)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv", "two.csv"]
    assert [path.read_bytes() for path in points.write(charts, tmp_path)] == once


def test_a_text_that_has_no_bytes_is_written_escaped(tmp_path):
    (path,) = points.write([chart(Series("v\ud800", "marks", (Point(1.0, 2.0),)))], tmp_path)
    assert b"v\\ud800" in path.read_bytes()


def test_a_plain_name_stays_and_any_other_becomes_one():
    assert whole.stem("tradeoff_memory_latency_T1024") == "tradeoff_memory_latency_T1024"
    hostile = ["../../etc/passwd", "a/b", "a:b", "a\nb", ".hidden", "-rf", "", "x" * 300, "ü", "v\ud800", "a\\b", "\0"]
    stems = [whole.stem(name) for name in hostile]
    assert all(whole.PLAIN.fullmatch(stem) for stem in stems), stems
    assert len(set(stems)) == len(hostile)
    assert whole.stem("vram_vs_T_pkg.mod:Class+cla2").startswith("vram_vs_T_pkg.mod-Class+cla2-")


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = whole.write(tmp_path / "a.txt", "before")

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        whole.write(path, "after")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
