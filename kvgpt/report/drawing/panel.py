"""One panel on its axes: scales, what is shaded, rules, series. Texts come when the axes have their places."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes

from kvgpt.report.chart import Panel, Rule, Zone
from kvgpt.report.colours import PALE, TONES
from kvgpt.report.drawing import forms, scales
from kvgpt.report.drawing.forms import Drawn, Slot
from kvgpt.report.drawing.wording import broken, shortened
from kvgpt.report.looks import Look

LABEL = 60  # characters of an axis label
PLAIN, LABELLED, CALLED_OUT = 0.06, 0.14, 0.3  # shares of a panel's height above its data
LETTER = 0.068  # inches, about
LINES = 3  # of a name under an axis, side by side with others
MOST_ASIDE = 0.3  # of a panel's width for the names of its rules and zones


def paint(axes: Axes, panel: Panel, looks: Sequence[Look], slots: Sequence[Sequence[Slot]], inches: float) -> None:
    """Draw all of it but its texts; ``inches`` is about how wide it becomes."""
    xs, ys = list(_across(panel, slots)), list(_up(panel, slots))
    left, right = scales.limits(panel.x, xs)
    if panel.x.scale == "names":
        right += _aside(panel, inches) * (right - left)
    scales.apply(axes, "x", panel.x, (left, right), xs, inches)
    scales.apply(axes, "y", panel.y, scales.limits(panel.y, ys, _above(panel)), ys)
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


def _across(panel: Panel, slots: Sequence[Sequence[Slot]]) -> Iterator[float]:
    yield from (slot.x + side * slot.width / 2 for here in slots for slot in here for side in (-1, 1))
    yield from (rule.at for rule in panel.rules if rule.axis == "x")
    yield from (callout.x for callout in panel.callouts)


def _up(panel: Panel, slots: Sequence[Sequence[Slot]]) -> Iterator[float]:
    """All that is to be in view; of bars their feet, too."""
    for series, here in zip(panel.series, slots, strict=True):
        for point, slot in zip(series.points, here, strict=True):
            yield slot.foot + point.y
            shown = (point.low, point.high) if series.form in forms.WITH_INTERVALS else ()
            yield from (end for end in shown if end is not None)
            yield from (slot.foot,) if series.form in forms.BARS else ()
    yield from (rule.at for rule in panel.rules if rule.axis == "y")
    yield from (callout.y for callout in panel.callouts)


def _above(panel: Panel) -> float:
    if panel.callouts and any(series.form in forms.BARS for series in panel.series):
        return CALLED_OUT
    return LABELLED if any(point.label for series in panel.series for point in series.points) else PLAIN


def _aside(panel: Panel, inches: float) -> float:
    """How much wider an axis of names becomes so that its rules and zones are named beside the bars."""
    named: tuple[Rule | Zone, ...] = (*panel.rules, *panel.zones)
    texts = [one.label for one in named if one.axis == "y"]
    share = min(LETTER * max(map(len, texts), default=0) / inches, MOST_ASIDE)
    return share / (1 - share)


def _names(axes: Axes, panel: Panel, inches: float) -> None:
    """Names on lines of their own where they fit side by side, else aslant."""
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)
    left, right = axes.get_xlim()
    width = int(inches / LETTER / (right - left)) - 1
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
