"""The curve of a training, as CSV and as a chart."""

import pytest

from kvgpt.curve import Row, read, written
from kvgpt.report import drawing, training

ROWS = [Row(10, 1000, 1e-3, 4.1, 2.5), Row(20, 2000, 1 / 3, 3.1, 1.5, 2.9), Row(30, 3000, 1e-4, 2.1, 0.1)]


def test_a_curve_reads_back_to_the_same_bits():
    assert read(written(ROWS)) == ROWS
    assert written(ROWS).splitlines()[0] == "step,tokens,learning_rate,loss,gradient_norm,held_out_loss"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a training curve"),
        ("a,b\n1,2\n", "columns a, b, expected step"),
        (written(ROWS) + "1,2,3\n", "line 5 of a training curve"),
        (written(ROWS) + "40,4000,x,1.0,1.0,\n", "line 5 of a training curve: could not convert"),
    ],
)
def test_what_is_no_curve_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_each_run_is_a_thin_line_and_its_held_out_points(tmp_path):
    chart = training.losses({"one": ROWS, "two": ROWS[:2]})
    (panel,) = chart.panels
    assert [(series.name, series.form, len(series.points)) for series in panel.series] == [
        ("one, training", "fit", 3),
        ("one, held out", "line", 1),
        ("two, training", "fit", 2),
        ("two, held out", "line", 1),
    ]
    assert panel.series[1].points[0].x == pytest.approx(0.002) and panel.series[1].points[0].y == 2.9
    assert {series.variant for series in panel.series} == {"one", "two"}
    assert sorted(path.name for path in drawing.draw([chart], tmp_path)) == ["curve.pdf", "curve.png"]
