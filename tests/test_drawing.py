"""Pictures of charts: panels in rows, a legend and a caption, whatever the names and figures, the same each time."""

from dataclasses import replace
from typing import get_args

import matplotlib as mpl
import numpy as np
import pytest
from drawn_charts import CURVE, T, bars, drawn, frame, panel, texts

from kvgpt.recipes import OTHERS, STYLES
from kvgpt.report import drawing, looks, style
from kvgpt.report.chart import Axis, Callout, Chart, Corner, Form, Point, Rule, Scale, Series, Zone
from kvgpt.report.drawing import sheet


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
