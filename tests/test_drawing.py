"""Pictures of charts: what is described is drawn where it is described, and can be read."""

from dataclasses import replace
from itertools import combinations, pairwise
from typing import get_args

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon, Rectangle, Wedge
from matplotlib.text import Annotation, Text

from kvgpt.recipes import OTHERS, STYLES
from kvgpt.report import drawing, looks, style
from kvgpt.report.chart import Axis, Callout, Chart, Corner, Form, Panel, Point, Rule, Scale, Series, Zone
from kvgpt.report.colours import PALE, PHASES
from kvgpt.report.drawing import forms, scales, sheet

T, MS = Axis("new tokens T", "log2", ticks=(32.0, 64.0, 128.0)), Axis("latency (ms)")
CURVE = (Point(32.0, 1.0), Point(64.0, 2.0), Point(128.0, 4.0))
NAMES = Axis("", "names", names=("v0", "v1"))


def panel(*series, x=T, y=MS, title="nano, B = 1", **decorations):
    return Panel(title, x, y, series, **decorations)


def drawn(*panels, name="chart", title="A chart", insights=()):
    chart = Chart(name, title, panels, insights)
    with style.applied():
        figure = sheet.figure(chart, looks.of_variants([chart]))
        figure.draw_without_rendering()
    return figure


def bars(form="bars", **decorations):
    """A bar each for v0 and v1, of 3 and 5 ms."""
    heights = {"v0": 3.0, "v1": 5.0}
    series = [Series(name, form, (Point(float(at), heights[name]),), name) for at, name in enumerate(heights)]
    return panel(*series, x=NAMES, **decorations)


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def frame(figure, text):
    """Where a text is, in pixels, with the box around it."""
    renderer = figure.canvas.get_renderer()
    patch = text.get_bbox_patch()
    return Text.get_window_extent(text, renderer) if patch is None else patch.get_window_extent(renderer)


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


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


def test_lengths_are_marked_where_they_were_measured_and_there_is_room():
    axes = drawn(panel(Series("v1", "line", CURVE, "v1"))).axes[0]
    assert axes.get_xscale() == "log" and ticks(axes.xaxis) == ["32", "64", "128"]
    original = (32, 64, 96, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 896, 1024)
    assert scales.lengths_marked(original) == [32, 64, 128, 256, 512, 1024]
    assert scales.lengths_marked([100, 300, 1000]) == [100, 300, 1000]
    assert len(scales.lengths_marked([2**power for power in range(30)])) <= scales.MOST_MARKS


@pytest.mark.parametrize(
    ("axis", "values", "expected"),
    [
        (Axis("perplexity", "log"), (21.0, 790.0), {"20", "50", "100", "200", "500"}),
        (Axis("ms", "log"), (1.0, 90000.0), {"1", "10", "100", "1,000", "10,000"}),
        (Axis("%", "symlog"), (0.4, 90.0), {"0", "0.1", "1", "10", "100"}),
        (Axis("%", "symlog"), (-5.0, 50.0), {"-1", "0", "1", "10"}),
        (Axis("ms"), (0.0, 7362.5), {"0", "2,000", "4,000", "6,000"}),
    ],
)
def test_numbers_on_an_axis_are_plain_and_none_is_there_twice(axis, values, expected):
    points = tuple(Point(32.0 * 2**place, value) for place, value in enumerate(values))
    shown = ticks(drawn(panel(Series("v1", "marks", points, "v1"), y=axis)).axes[0].yaxis)
    assert len(shown) == len(set(shown)) and expected <= set(shown), shown


def test_an_axis_has_its_own_ends_else_a_little_beyond_the_data():
    assert scales.limits(Axis("", low=5.0, high=9.0), [1.0, 100.0]) == (5.0, 9.0)
    assert scales.limits(Axis(""), [1.0, 10.0])[0] == 0.0, "from zero, where zero is near"
    low, high = scales.limits(Axis(""), [900.0, 1000.0])
    assert 880 < low < 900 and 1000 < high < 1020
    assert scales.limits(Axis("", low=47.0), [0.0, 48.0])[1] < 49, "what is below a fixed end counts for nothing"
    low, high = scales.limits(Axis("", "log"), [0.0, 10.0, 1000.0])
    assert 0 < low < 10 and high > 1000


def test_numbers_that_would_touch_are_left_out():
    assert scales.apart([32.0, 64.0, 128.0, 1024.0], (0.0, 1024.0), 5.0) == [64.0, 128.0, 1024.0]


def test_what_is_shaded_ends_where_its_axis_does_and_a_rule_is_where_it_says():
    zones = (Zone("y", None, 2.0, "good", "fine"), Zone("y", 2.0, None, "poor"), Zone("y", 90.0, 99.0, "fair"))
    axes = drawn(panel(Series("v1", "line", CURVE, "v1"), zones=zones, rules=(Rule("y", 3.0, "poor", "limit"),))).axes[
        0
    ]
    spans = {
        to_hex(patch.get_facecolor()): patch.get_extents().transformed(axes.transData.inverted())
        for patch in axes.patches
    }
    assert set(spans) == {PALE["good"].lower(), PALE["poor"].lower()}
    low, high = axes.get_ylim()
    assert (spans[PALE["good"].lower()].y0, spans[PALE["good"].lower()].y1) == pytest.approx((low, 2.0))
    assert (spans[PALE["poor"].lower()].y0, spans[PALE["poor"].lower()].y1) == pytest.approx((2.0, high))
    (rule,) = [line for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert rule.get_ydata()[0] == 3.0 and rule.get_linestyle() == "--"
    assert {"fine", "limit"} <= {text.get_text() for text in texts(axes.figure)}


def test_callouts_are_in_their_panel_and_not_over_each_other():
    callouts = [
        Callout(f"{word} that takes two lines at least", x, y)
        for word, x, y in (("one", 32.0, 1.0), ("two", 128.0, 4.0), ("three", 128.0, 3.8))
    ]
    figure = drawn(panel(Series("v1", "line", CURVE, "v1"), callouts=tuple(callouts)))
    axes = figure.axes[0]
    found = [frame(figure, text) for text in texts(figure) if isinstance(text, Annotation)]
    assert len(found) == 3 and not any(a.overlaps(b) for a, b in combinations(found, 2))
    panel_box = axes.get_window_extent()
    for box in found:
        assert box.x0 >= panel_box.x0 and box.x1 <= panel_box.x1 and box.y0 >= panel_box.y0 and box.y1 <= panel_box.y1


def test_a_callout_is_over_no_bar_where_there_is_room_elsewhere():
    heights = {"v0": 1.0, "v1": 0.5, "v2": 0.8, "v3": 8.0, "v4": 8.0, "v3a": 6.0, "v4a": 6.0}
    each = (
        Series(name, "bars", (Point(float(at), heights[name], label=f"+{heights[name]}%"),), name)
        for at, name in enumerate(heights)
    )
    callouts = (Callout("alignment: 7.97 times less", 5.0, 6.0), Callout("alignment: 8 times less", 6.0, 6.0))
    x, y = Axis("", "names", names=tuple(heights)), replace(MS, low=0.0, high=11.0)
    figure = drawn(panel(*each, x=x, y=y, callouts=callouts))
    boxes = [frame(figure, text) for text in texts(figure) if isinstance(text, Annotation)]
    found = [one.get_window_extent() for one in figure.axes[0].patches if isinstance(one, Rectangle)]
    assert len(boxes) == 2 and len(found) == len(heights)
    assert not any(box.overlaps(bar) for box in boxes for bar in found)


def test_points_that_coincide_are_labelled_once():
    places = {"v0": (1.0, 1.0), "v1": (9.0, 9.0), "v2": (1.0, 1.001)}
    marks = (Series(name, "marks", (Point(*at, label=name),), name) for name, at in places.items())
    said = [text.get_text() for text in texts(drawn(panel(*marks, x=Axis("MB"))).axes[0])]
    assert said.count("v0, v2") == 1 and "v1" in said and "v2" not in said


def test_labels_of_bars_are_upright_where_they_would_not_fit_side_by_side():
    def labelled(label, count):
        names = tuple(f"v{place}" for place in range(count))
        series = (Series(name, "bars", (Point(float(at), 5.0, label=label),), name) for at, name in enumerate(names))
        figure = drawn(panel(*series, x=Axis("", "names", names=names)))
        return [text.get_rotation() for text in texts(figure) if text.get_text() == label]

    assert labelled("+104%", 3) == [0, 0, 0]
    assert labelled("1,867_sequences_in_all", 12) == [90] * 12
    assert labelled("+104.8%", 18) == [90] * 18, "no number is parted"


def test_the_corners_say_what_they_are():
    corners = (Corner("ideal", 0.02, 0.02), Corner("avoid", 0.98, 0.98))
    figure = drawn(panel(Series("v1", "marks", CURVE, "v1"), corners=corners))
    ideal, avoid = (next(text for text in texts(figure) if text.get_text() == one.text) for one in corners)
    assert ideal.get_position() < (0.2, 0.2) and avoid.get_position() > (0.8, 0.8)


def test_the_legend_says_each_once_and_nothing_that_an_axis_names():
    line = Series("v1", "line", CURVE, "v1")
    unsaid = Series("a fit", "fit", CURVE, "v1", in_legend=False)
    (legend,) = drawn(panel(line, unsaid), panel(line, Series("_private", "line", CURVE, "x:Y"))).legends
    assert [text.get_text().lstrip("\u200b") for text in legend.get_texts()] == ["v1", "_private"]
    assert drawn(bars()).legends == []


def test_panels_stand_in_rows_of_three_at_most():
    made = [sheet.laid_out(Chart("a", "A", (panel(),) * count), []) for count in range(1, 8)]
    assert [(one.columns, one.rows) for one in made] == [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (3, 2), (3, 3)]
    assert len(drawn(*[panel(Series("v1", "line", CURVE, "v1"))] * 5).axes) == 5


def test_what_the_data_say_is_below_the_figure():
    insight = "v1 is 2.23x as fast as v0 at T = 1,024"
    figure = drawn(bars(), insights=(insight,))
    (said,) = [text for text in texts(figure) if text.get_text().replace("\u00a0", " ") == insight]
    assert frame(figure, said).y1 < figure.axes[0].get_window_extent().y0


def test_a_stranger_looks_the_same_in_every_chart():
    charts = [
        Chart(name, name, (panel(*(Series(variant, "line", CURVE, variant) for variant in variants)),))
        for name, variants in (("one", ("v1", "a:B")), ("two", ("c:D", "a:B")))
    ]
    assert looks.of_variants(charts) == {"v1": STYLES["v1"], "a:B": OTHERS[0], "c:D": OTHERS[1]}


HOSTILE = (
    "$\\frac{1}{0}$",
    "a\nb\r\tc",
    "\x00\x1b[31m\u202e",
    "_hidden",
    "\ud800",
    "漢字 🙂",
    "<b>&amp;</b>",
    "",
    "{}%s",
    "x" * 400,
)


def test_hostile_names_are_drawn_as_texts_within_the_figure():
    lines = [Series(name, "line", tuple(replace(point, label=name) for point in CURVE), name) for name in HOSTILE]
    bars = [Series("v1", "bars", (Point(float(at), 1.0, label=name),), "v1", name) for at, name in enumerate(HOSTILE)]
    part = [Series(name, "slices", (Point(0.0, 1.0, label=name),)) for name in HOSTILE]
    decorations = {
        "zones": tuple(Zone("y", float(at), at + 1.0, "good", name) for at, name in enumerate(HOSTILE)),
        "rules": tuple(Rule("y", 1.0, "poor", name) for name in HOSTILE),
        "callouts": tuple(Callout(name, 64.0, 2.0) for name in (HOSTILE[0], HOSTILE[-1])),
        "corners": tuple(Corner(name, 0.5, 0.5) for name in HOSTILE),
    }
    long, formula = HOSTILE[-1], HOSTILE[0]
    panels = (
        panel(*lines, x=replace(T, label=long), y=Axis(long), title=long, **decorations),
        panel(*bars, x=Axis(formula, "names", names=HOSTILE), y=Axis(formula), title=formula),
        panel(*part, y=Axis(long), title=long),
    )
    figure = drawn(*panels, title=long, insights=HOSTILE)
    with style.applied():
        assert len(list(style.pictures(figure))) == 2
    for text in texts(figure):
        box = frame(figure, text)
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, text.get_text()
    assert not any(text.get_parse_math() for text in texts(figure))
    said = {text.get_text() for text in texts(figure)}
    assert formula in said and not any(odd in text for text in said for odd in "\x00\x1b\u202e\ud800")


@pytest.mark.parametrize("scale", get_args(Scale))
@pytest.mark.parametrize("forms", [("slices",), tuple(form for form in get_args(Form) if form != "slices")], ids=len)
def test_no_figures_are_too_odd_to_be_drawn(forms, scale):
    odd = (
        (),
        (Point(1.0, 1.0),),
        (Point(0.0, 0.0, 0.0, 0.0), Point(0.0, 0.0)),
        (Point(-3.0, -1e308, -1.7e308, 1.7e308, "low"), Point(5.0, 1.7e308, label="high")),
        (Point(1e-300, 1e-300), Point(1e300, 1e300)),
    )
    axis = Axis("", scale, names=("v0", "v1")) if scale == "names" else Axis("", scale)
    decorations = {"rules": (Rule("y", -5.0, label="rule"),), "zones": (Zone("x", 9e9, None, "poor", "zone"),)}
    panels = [
        panel(*(Series("v1", form, points, "v1") for form in forms), x=axis, y=axis, **decorations) for points in odd
    ]
    assert len(drawn(*panels).axes) == len(odd)


def test_a_chart_of_nothing_is_refused_by_its_name():
    with pytest.raises(ValueError, match="'comparison' has no panel"):
        drawn(name="comparison")


def test_a_picture_is_the_same_each_time_and_nothing_half_written_is_left(tmp_path):
    charts = [Chart(name, name, (bars(callouts=(Callout("high", 1.0, 5.0),)),)) for name in ("one", "v:../two")]
    found = []
    for directory in (tmp_path / "a", tmp_path / "b"):
        directory.mkdir()
        written = drawing.draw(charts, directory)
        assert sorted(written) == sorted(directory.iterdir()) and all(path.parent == directory for path in written)
        found.append({path.name: path.read_bytes() for path in written})
    assert found[0] == found[1]
    assert [name.rpartition(".")[2] for name in found[0]] == ["png", "pdf"] * 2
    assert {"one.png", "one.pdf"} < set(found[0])
    assert all(data.startswith((b"\x89PNG", b"%PDF")) for data in found[0].values())


def test_what_is_described_twice_under_one_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="more than one chart is named one"):
        drawing.draw([Chart("one", "One", (bars(),))] * 2, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_matplotlibs_own_settings_come_back():
    with mpl.rc_context({"font.size": 31.0}):
        before = dict(mpl.rcParams)
        drawn(bars())
        assert dict(mpl.rcParams) == before


def test_whoever_set_matplotlib_otherwise_gets_the_same_picture():
    plain = next(data for _, data in style.pictures(drawn(bars())))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        figure = drawn(bars())
    assert np.allclose(figure.get_size_inches(), drawn(bars()).get_size_inches())
    assert next(data for _, data in style.pictures(figure)) == plain


def test_each_form_has_a_sample_for_the_legend():
    look = looks.Look(STYLES["v1"])
    assert all(forms.sample(Series("v1", form, CURVE, "v1"), look) is not None for form in get_args(Form))
