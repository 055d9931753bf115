"""What each form of a series is drawn as: lines, bars, stacks, bands, pies."""

from dataclasses import replace
from itertools import combinations, pairwise
from typing import get_args

import pytest
from drawn_charts import CURVE, NAMES, bars, drawn, frame, panel, texts
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon, Rectangle, Wedge
from matplotlib.text import Annotation

from kvgpt.recipes import STYLES
from kvgpt.report import looks
from kvgpt.report.chart import Axis, Form, Point, Series
from kvgpt.report.colours import PHASES
from kvgpt.report.drawing import forms


def curves(axes):
    """{marker or line: its points} of what is joined or marked on the axes, rules aside."""
    return [line for line in axes.lines if len(line.get_xdata()) > 2]


def test_a_line_is_where_its_points_are_in_the_look_of_its_variant():
    (line,) = curves(drawn(panel(Series("v2", "line", CURVE, "v2"))).axes[0])
    assert line.get_xdata().tolist() == [32, 64, 128] and line.get_ydata().tolist() == [1, 2, 4]
    assert (line.get_color(), line.get_marker()) == (STYLES["v2"].colour, STYLES["v2"].marker)
    assert line.get_linestyle() == STYLES["v2"].line


@pytest.mark.parametrize(
    ("form", "marked", "joined"),
    [
        ("line", True, "--"),
        ("marks", True, "None"),
        ("fit", False, "-"),
        ("projection", False, "--"),
        ("frontier", False, "--"),
    ],
)
def test_each_form_of_a_curve_is_marked_and_joined_as_it_says(form, marked, joined):
    (line,) = curves(drawn(panel(Series("v2", form, CURVE, "v2"))).axes[0])
    assert (line.get_marker() not in ("None", None, ""), line.get_linestyle()) == (marked, joined)
    assert line.get_ydata().tolist() == [1, 2, 4]


def test_what_is_hollow_is_empty_inside():
    faint, full = curves(
        drawn(panel(Series("a", "line", CURVE, "v1", faint=True), Series("b", "line", CURVE, "v2"))).axes[0]
    )
    assert to_hex(faint.get_markerfacecolor()) == "#ffffff" != to_hex(full.get_markerfacecolor())
    assert to_hex(faint.get_markeredgecolor()) == STYLES["v1"].colour.lower()


def test_curves_of_one_variant_are_told_apart_by_their_lines():
    several = (Series(name, "line", CURVE, "v1") for name in ("recompute", "shift", "interpolate"))
    lines = curves(drawn(panel(*several)).axes[0])
    assert len({line.get_linestyle() for line in lines}) == 3 and len({line.get_color() for line in lines}) == 1


def test_bars_of_one_place_stand_side_by_side_in_the_order_of_their_series():
    phases = [
        Series(phase, "bars", (Point(0.0, height), Point(1.0, 2 * height)), phase=phase)
        for phase, height in (("attention", 3.0), ("mlp", 2.0), ("head", 1.0))
    ]
    axes = drawn(panel(*phases, x=NAMES)).axes[0]
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_width() < 0.5]
    assert [patch.get_height() for patch in found] == [3, 6, 2, 4, 1, 2]
    first = sorted(found[::2], key=lambda patch: patch.get_x())
    assert first == found[::2]
    assert all(a.get_x() + a.get_width() <= b.get_x() + 1e-9 for a, b in pairwise(first))
    assert first[0].get_x() + first[-1].get_x() + first[-1].get_width() == pytest.approx(0.0), "around their place"
    assert [to_hex(patch.get_facecolor()) for patch in first] == [PHASES[one.phase].lower() for one in phases]


def test_a_place_with_one_bar_has_it_in_its_middle():
    found = [patch for patch in drawn(bars()).axes[0].patches if isinstance(patch, Rectangle)]
    assert [patch.get_x() + patch.get_width() / 2 for patch in found] == pytest.approx([0, 1])
    assert [to_hex(patch.get_facecolor()) for patch in found] == [STYLES[name].colour.lower() for name in ("v0", "v1")]


def test_stacked_bars_stand_upon_one_another():
    phases = [
        Series(phase, "stack", (Point(0.0, height),), phase=phase)
        for phase, height in (("attention", 3.0), ("mlp", 2.0))
    ]
    lower, upper = [patch for patch in drawn(panel(*phases, x=NAMES)).axes[0].patches if patch.get_height() > 1]
    assert (lower.get_y(), upper.get_y(), upper.get_height()) == (0, 3, 2)


def test_a_band_is_between_its_bounds_and_a_region_within_its_corners():
    bounded = tuple(replace(point, low=point.y / 2, high=2 * point.y) for point in CURVE)
    axes = drawn(panel(Series("v1", "band", bounded, "v1"), Series("worse", "region", CURVE))).axes[0]
    (band,) = [found for found in axes.collections if isinstance(found, PolyCollection)]
    assert {tuple(corner) for corner in band.get_paths()[0].vertices} >= {(32, 0.5), (32, 2.0), (128, 2.0), (128, 8.0)}
    (region,) = [patch for patch in axes.patches if type(patch) is Polygon]
    assert {tuple(corner) for corner in region.get_xy()} == {(point.x, point.y) for point in CURVE}


def test_spans_are_filled_between_their_corners_and_have_a_patch_in_the_legend():
    figure = drawn(panel(Series("attention", "spans", CURVE, phase="attention")))
    (filled,) = [patch for patch in figure.axes[0].patches if type(patch) is Polygon]
    assert {tuple(corner) for corner in filled.get_xy()} == {(point.x, point.y) for point in CURVE}
    assert filled.get_alpha() is None and to_hex(filled.get_facecolor()).upper() == PHASES["attention"]
    (sample,) = figure.legends[0].get_patches()
    assert to_hex(sample.get_facecolor()).upper() == PHASES["attention"]


def whiskers(axes):
    return [path.vertices[:, 1].tolist() for one in axes.collections for path in one.get_paths() if len(path) == 2]


def test_an_interval_is_a_whisker_where_it_was_measured_and_no_band_shows_it():
    points = (Point(32.0, 1.0, 0.5, 3.0), Point(64.0, 2.0), Point(128.0, 4.0, 3.0, None))
    line = Series("v1", "line", points, "v1")
    assert whiskers(drawn(panel(line)).axes[0]) == [[0.5, 3.0]]
    assert whiskers(drawn(panel(line, replace(line, form="band"))).axes[0]) == []
    assert drawn(panel(Series("v1", "marks", (Point(32.0, 1.0, 0.5, 9.0),), "v1"))).axes[0].get_ylim()[1] > 9


def slices(*values, label=""):
    series = [
        Series(name, "slices", (Point(0.0, y, label=label),), phase=name)
        for name, y in zip(PHASES, values, strict=False)
    ]
    return panel(*series, x=Axis(""), y=Axis("time (ms)"))


def test_slices_are_their_shares_and_small_ones_are_pulled_out():
    axes = drawn(slices(60.0, 38.0, 2.0)).axes[0]
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    assert [wedge.theta2 - wedge.theta1 for wedge in wedges] == pytest.approx([216, 136.8, 7.2])
    assert [wedge.center == (0.0, 0.0) for wedge in wedges] == [True, True, False]
    said = [" ".join(text.get_text().split()) for text in texts(axes.figure)]
    assert {"60.0%, 60 ms", "38.0%, 38 ms", "2.0%, 2 ms", "time (ms)"} <= set(said)


def test_a_pie_is_round_whatever_the_shape_of_its_panel():
    figure = drawn(slices(1.0, 1.0), slices(2.0, 1.0), slices(3.0, 1.0))
    for axes in figure.axes:
        (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (1, 1)])
        assert x1 - x0 == pytest.approx(y1 - y0)


def test_what_is_no_part_of_a_whole_is_no_slice():
    assert not [one for one in drawn(slices(0.0, -1.0)).axes[0].patches if isinstance(one, Wedge)]


def test_labels_outside_a_pie_are_not_over_each_other():
    figure = drawn(slices(95.0, 1.5, 1.5, 1.0, 1.0))
    outside = [frame(figure, text) for text in texts(figure) if isinstance(text, Annotation)]
    assert len(outside) == 4 and not any(a.overlaps(b) for a, b in combinations(outside, 2))


def test_each_form_has_a_sample_for_the_legend():
    look = looks.Look(STYLES["v1"])
    assert all(forms.sample(Series("v1", form, CURVE, "v1"), look) is not None for form in get_args(Form))
