"""Charts drawn for tests to look at: panels of few points, and where their texts came to stand."""

from matplotlib.text import Text

from kvgpt.report import looks, style
from kvgpt.report.chart import Axis, Chart, Panel, Point, Series
from kvgpt.report.drawing import sheet

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
