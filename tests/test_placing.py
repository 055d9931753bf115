"""Where texts go, and how they read: plain geometry and plain strings, without a picture."""

import numpy as np
import pytest

from kvgpt.report.drawing import placing
from kvgpt.report.drawing.placing import Box
from kvgpt.report.drawing.wording import broken, lines, number, plain, shortened, wrapped

PANEL = Box(0.0, 0.0, 100.0, 100.0)
NOTHING = np.empty((0, 2))


def test_a_text_that_would_leave_the_panel_is_moved_into_it():
    outside = Box(-30.0, 95.0, -10.0, 105.0)
    assert outside.inside(PANEL) == Box(0.0, 90.0, 20.0, 100.0)
    within = Box(10.0, 10.0, 20.0, 20.0)
    assert within.inside(PANEL) == within
    assert Box(-10.0, 0.0, 150.0, 10.0).inside(PANEL).left == 0.0, "too wide: it begins where the panel does"


def test_the_first_candidate_wins_where_nothing_is_in_its_way():
    first, second = Box(10.0, 10.0, 20.0, 20.0), Box(30.0, 30.0, 40.0, 40.0)
    assert placing.best([first, second], PANEL, [], NOTHING) == first
    assert placing.best([first, second], PANEL, [Box(15.0, 15.0, 25.0, 25.0)], NOTHING) == second
    assert placing.best([first, second], PANEL, [], np.array([(15.0, 15.0)] * 20)) == second


def test_dots_are_covered_before_texts_are():
    on_text, on_dots = Box(10.0, 10.0, 20.0, 20.0), Box(30.0, 30.0, 40.0, 40.0)
    dots = np.array([(35.0, 35.0)] * 50)
    assert placing.best([on_text, on_dots], PANEL, [on_text], dots) == on_dots


def test_an_arrow_goes_over_no_text_and_its_box_leaves_the_point_in_view():
    point = (50.0, 50.0)
    right, above = Box(80.0, 46.0, 98.0, 54.0), Box(41.0, 76.0, 59.0, 84.0)
    assert placing.best([right, above], PANEL, [], NOTHING, point) == right
    between = Box(60.0, 45.0, 70.0, 55.0)
    assert placing.best([right, above], PANEL, [between], NOTHING, point) == above
    covering = Box(45.0, 46.0, 63.0, 54.0)
    assert placing.best([covering, right], PANEL, [], NOTHING, point) == right


def test_candidates_surround_their_anchor_without_touching_it():
    for box in placing.around((50.0, 50.0), 20.0, 6.0, 3.0) + placing.beside((50.0, 50.0), 20.0, 6.0, 1.0):
        assert not box.holds(np.array([(50.0, 50.0)]))


def test_points_that_coincide_are_one_group():
    assert placing.clusters([(1.0, 1.0), (50.0, 90.0), (2.0, 1.5), (50.0, 1.0)], 4.0) == [[0, 2], [1], [3]]
    assert placing.clusters([], 4.0) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb\t c", "a b c"), ("\x00\x1b[31mred", "[31mred"), ("a\u202eb", "a b"), ("v\ud800", "v"), ("$x$", "$x$")],
)
def test_what_cannot_be_printed_is_a_space(text, expected):
    assert plain(text) == expected


def test_a_long_name_keeps_both_of_its_ends():
    name = "package.of.somebody:Cache" + "+cla2"
    assert shortened(name, 100) == name
    short = shortened(name, 15)
    assert len(short) == 15 and short.startswith("package") and short.endswith("e+cla2")


def test_lines_are_even_and_none_parts_a_number_from_its_unit():
    assert wrapped("3.91 times as many as in v1", 26) == "3.91 times as\nmany as in v1"
    assert wrapped("attention: +1.82 s against v1", 16) == "attention:\n+1.82\u00a0s\nagainst v1"
    assert [line.replace("\u00a0", " ") for line in lines("faster at T = 192", 14)] == ["faster at", "T = 192"]
    assert wrapped("", 10) == ""


def test_what_needs_too_many_lines_is_cut_off():
    cut = wrapped("word " * 40, 12, most=2)
    assert cut.count("\n") == 1 and cut.endswith("…") and max(map(len, cut.splitlines())) <= 12


def test_a_name_is_parted_after_its_joints():
    assert broken("dense+matmul", 8) == ["dense+", "matmul"]
    assert broken("transformers-dynamic", 13) == ["transformers-", "dynamic"]
    assert broken("v1", 8) == ["v1"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (-0.0, "0"), (1024.0, "1,024"), (0.1 + 0.2, "0.3"), (-2.5, "-2.5"), (1e6, "1e+06"), (1e-5, "1e-05")],
)
def test_numbers_read_as_on_an_axis(value, expected):
    assert number(value) == expected
