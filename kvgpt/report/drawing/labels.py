"""Labels of points: at the ends of bars, in the segments of stacks, beside marks."""

from collections.abc import Sequence

from matplotlib.text import Text

from kvgpt.report.chart import Panel, Point
from kvgpt.report.colours import contrast
from kvgpt.report.drawing import placing
from kvgpt.report.drawing.forms import BARS, INK, PAPER, Slot
from kvgpt.report.drawing.ground import Ground
from kvgpt.report.drawing.placing import Box
from kvgpt.report.drawing.wording import shortened, wrapped
from kvgpt.report.looks import Look

SIZE = 7.5  # points
SHORT, LONG = 30, 40  # characters: of a label at a bar, and beside a mark
WAYS = ((1, 0, SIZE), (1, 0, 6.5), (2, 0, SIZE), (2, 0, 6.5), (1, 0, 6.0), (1, 90, SIZE))  # lines, degrees, points
STEPS = (0.0, 0.7, 1.4)  # heights by which a label is moved off a rule that goes through it
TOUCHING = 4.0  # points
APART = 2.0  # points between the labels of bars: less, and two numbers read as one


def on(colour: str) -> str:
    """The colour of a text on this one."""
    return max(PAPER, INK, key=lambda ink: contrast(ink, colour))


def at_bars(ground: Ground, panel: Panel, slots: Sequence[Sequence[Slot]]) -> None:
    """Beyond the bars and their whiskers, in the first of the ways in which all of them have room, or the least bad."""
    labelled = [
        (point, slot)
        for series, here in zip(panel.series, slots, strict=True)
        for point, slot in zip(series.points, here, strict=True)
        if point.label and series.form == "bars"
    ]
    least, texts, boxes = (len(labelled), len(labelled) + 1), list[Text](), list[Box]()
    for lines, degrees, size in WAYS:
        if lines > 1 and any(_parted(point.label, lines) for point, _ in labelled):
            continue
        these = [ground.text(_on_lines(point.label, lines), size, INK, rotation=degrees) for point, _ in labelled]
        theirs = [_beyond(ground, text, *one) for text, one in zip(these, labelled, strict=True)]
        unread = _unread(ground, theirs)
        if unread < least:
            least, texts, these, boxes = unread, these, texts, theirs
        for text in these:
            text.remove()
        if not any(least):
            break
    for text, box in zip(texts, boxes, strict=True):
        height = box.top - box.bottom
        ground.put(text, [Box(box.left, box.bottom + by * height, box.right, box.top + by * height) for by in STEPS])


def in_stacks(ground: Ground, panel: Panel, looks: Sequence[Look], slots: Sequence[Sequence[Slot]]) -> None:
    """In the middle of each segment that has room for one."""
    for series, look, here in zip(panel.series, looks, slots, strict=True):
        for point, slot in zip(series.points, here, strict=True) if series.form == "stack" else ():
            text = ground.text(shortened(point.label, SHORT), SIZE, on(look.style.colour))
            width, height = ground.size(text)
            x, low = ground.pixels(slot.x, slot.foot)
            high = ground.pixels(slot.x, slot.foot + point.y)[1]
            if height > high - low:
                text.remove()
            else:
                ground.put(text, [Box.around((x, (low + high) / 2), width, height)])


def at_marks(ground: Ground, panel: Panel) -> None:
    """Beside their points. Those of points that coincide are written once, one after the other."""
    labelled = [
        (shortened(point.label, LONG), ground.pixels(point.x, point.y))
        for series in panel.series
        if series.form not in BARS
        for point in series.points
        if point.label
    ]
    gap = TOUCHING * ground.point
    for group in placing.clusters([place for _, place in labelled], gap):
        together = ", ".join(dict.fromkeys(labelled[number][0] for number in group))
        text = ground.text(shortened(together, LONG), SIZE, INK)
        ground.put(text, placing.beside(labelled[group[0]][1], *ground.size(text), gap))


def _on_lines(label: str, lines: int) -> str:
    label = shortened(label, SHORT)
    return wrapped(label, _width(label, lines))


def _width(label: str, lines: int) -> int:
    return -(-len(label) // lines) + lines - 1


def _parted(label: str, lines: int) -> bool:
    """Whether so many lines would part a word: half a number is another number."""
    label = shortened(label, SHORT)
    return any(len(word) > _width(label, lines) for word in label.split())


def _beyond(ground: Ground, text: Text, point: Point, slot: Slot) -> Box:
    width, height = ground.size(text)
    way, end = (-1, point.low) if point.y < 0 else (1, point.high)
    x, y = ground.pixels(slot.x, point.y if end is None else end)
    return Box.around((x, y + way * (2 * ground.point + height / 2)), width, height).inside(ground.bounds)


def _unread(ground: Ground, boxes: Sequence[Box]) -> tuple[int, int]:
    """How many labels lie on another one or on a bar, and how many nearly on another one."""
    wide = [box.grown(APART / 2 * ground.point) for box in boxes]
    covered = [box for box in boxes if box.holds(ground.bars) or _shares(box, boxes)]
    return len(covered), sum(_shares(box, wide) for box in wide)


def _shares(box: Box, boxes: Sequence[Box]) -> bool:
    return any(box.shared(other) for other in boxes if other is not box)
