"""What stands around the data of a panel: its axes, its zones and rules, its callouts and labels."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from drawn_charts import CURVE, MS, drawn, frame, panel, texts
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from kvgpt.report.chart import Axis, Callout, Corner, Point, Rule, Series, Zone
from kvgpt.report.colours import PALE
from kvgpt.report.drawing import scales


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


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


def labelled(label, count, high=11.0):
    """So many bars of one height and label, drawn, and the texts of their labels."""
    names = tuple(f"v{place}" for place in range(count))
    series = (Series(name, "bars", (Point(float(at), 5.0, label=label),), name) for at, name in enumerate(names))
    figure = drawn(panel(*series, x=Axis("", "names", names=names), y=replace(MS, low=0.0, high=high)))
    return figure, [text for text in texts(figure) if text.get_text() == label]


def test_labels_of_bars_are_upright_where_they_would_not_fit_side_by_side():
    def degrees(label, count):
        return [text.get_rotation() for text in labelled(label, count)[1]]

    assert degrees("+104%", 3) == [0, 0, 0]
    assert degrees("1,867_sequences_in_all", 12) == [90] * 12
    assert degrees("+104.8%", 18) == [90] * 18, "no number is parted"


@pytest.mark.parametrize("count", range(4, 19))
def test_labels_of_bars_side_by_side_do_not_read_as_one_number(count):
    figure, found = labelled("+1,214%", count)
    boxes = sorted((frame(figure, text) for text in found), key=lambda box: box.x0)
    gaps = [(right.x0 - left.x1) * 72 / figure.dpi for left, right in pairwise(boxes)]
    assert len(gaps) == count - 1 and min(gaps) >= 2.0, "points"


def test_labels_of_bars_without_room_above_nearly_touch_before_they_lie_on_bars():
    figure, found = labelled("+1,214%", 14, high=5.6)
    bars = [one.get_window_extent() for one in figure.axes[0].patches if isinstance(one, Rectangle)]
    assert len(bars) == 14 and not any(frame(figure, text).overlaps(bar) for text in found for bar in bars)


def test_the_corners_say_what_they_are():
    corners = (Corner("ideal", 0.02, 0.02), Corner("avoid", 0.98, 0.98))
    figure = drawn(panel(Series("v1", "marks", CURVE, "v1"), corners=corners))
    ideal, avoid = (next(text for text in texts(figure) if text.get_text() == one.text) for one in corners)
    assert ideal.get_position() < (0.2, 0.2) and avoid.get_position() > (0.8, 0.8)
