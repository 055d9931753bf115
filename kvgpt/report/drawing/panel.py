"""One panel on its axes: scales, what is shaded, rules, series. Texts come when the axes have their places."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes

from kvgpt.report.chart import Panel, Rule, Zone
from kvgpt.report.colours import PALE, TONES
from kvgpt.report.drawing import forms, scales
from kvgpt.report.drawing.forms import Drawn, Slot
from kvgpt.report.drawing.looks import Look
from kvgpt.report.drawing.wording import broken, shortened

LABEL = 60  # characters of an axis label
ROOM_FOR_LABELS = 0.14
LETTERS, LINES = 14.0, 3  # in an inch of names side by side, and of one of them


def paint(axes: Axes, panel: Panel, looks: Sequence[Look], slots: Sequence[Sequence[Slot]], inches: float) -> None:
    """Draw all of it but its texts; ``inches`` is about how wide it becomes."""
    labelled = any(point.label for series in panel.series for point in series.points)
    xs, ys = list(_across(panel)), list(_up(panel, slots))
    scales.apply(axes, "x", panel.x, scales.limits(panel.x, xs), xs)
    ends = scales.limits(panel.y, ys, ROOM_FOR_LABELS if labelled else 0.06)
    scales.apply(axes, "y", panel.y, ends, ys)
    axes.set_xlabel(shortened(panel.x.label, LABEL))
    axes.set_ylabel(shortened(panel.y.label, LABEL))
    if panel.x.scale == "names":
        _names(axes, panel, inches)
    for zone in panel.zones:
        _zone(axes, zone)
    for rule in panel.rules:
        _rule(axes, rule)
    for place, (series, look) in enumerate(zip(panel.series, looks, strict=True)):
        forms.paint(Drawn(axes, series, look, panel, slots, place))


def _across(panel: Panel) -> Iterator[float]:
    for series in panel.series:
        yield from (point.x for point in series.points)
    yield from (rule.at for rule in panel.rules if rule.axis == "x")
    yield from (callout.x for callout in panel.callouts)


def _up(panel: Panel, slots: Sequence[Sequence[Slot]]) -> Iterator[float]:
    """All that is to be in view; of bars their feet, too."""
    bars = panel.y.scale in ("linear", "symlog") and panel.y.low is None
    for series, here in zip(panel.series, slots, strict=True):
        for point, slot in zip(series.points, here, strict=True):
            foot = slot.foot if series.form == "stack" else 0.0
            yield foot + point.y
            if series.form in ("bars", "stack") and bars:
                yield foot
            yield from (end for end in (point.low, point.high) if end is not None)
    yield from (rule.at for rule in panel.rules if rule.axis == "y")
    yield from (callout.y for callout in panel.callouts)


def _names(axes: Axes, panel: Panel, inches: float) -> None:
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)
    width = int(LETTERS * inches / max(len(panel.x.names), 1)) - 1
    names = [broken(name, width) for name in panel.x.names]
    if all(len(lines) <= LINES and max(map(len, lines)) <= width for lines in names):
        axes.set_xticks(range(len(names)), ["\n".join(lines) for lines in names])
    else:
        axes.tick_params(axis="x", labelrotation=35)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _zone(axes: Axes, zone: Zone) -> None:
    start, end = axes.get_xlim() if zone.axis == "x" else axes.get_ylim()
    low = start if zone.low is None else min(max(zone.low, start), end)
    high = end if zone.high is None else min(max(zone.high, start), end)
    span = axes.axvspan if zone.axis == "x" else axes.axhspan
    if low < high:
        span(low, high, facecolor=PALE[zone.tone], linewidth=0, zorder=0.5)


def _rule(axes: Axes, rule: Rule) -> None:
    start, end = axes.get_xlim() if rule.axis == "x" else axes.get_ylim()
    line = axes.axvline if rule.axis == "x" else axes.axhline
    if start <= rule.at <= end:
        line(rule.at, color=TONES[rule.tone], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.8)
