"""A chart of several subjects: panels for each, what it says, and which of its points are not to be trusted."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from kvgpt.recorded import Case
from kvgpt.report.chart import Axis, Chart, Missing, Panel
from kvgpt.report.charts.phrases import listed
from kvgpt.report.select import axis, grouped

Found = TypeVar("Found")
Group = tuple[str, list[Case]]  # a title, and the cases that are compared under it
CROWDED = 1.4  # neighbours that are nearer than this leave no room for both their labels


def chart(
    name: str,
    title: str,
    subjects: Iterable[tuple[str, Found]],
    describe: Callable[[str, Found], tuple[Sequence[Panel], Iterable[str]]],
) -> Chart:
    """``describe`` makes panels and insights of a subject, or says what is Missing there, which is passed on where it
    is so of all. Where there are several subjects, each sentence says which one it is about.
    """
    every = [*subjects]
    panels, told, missing = list[Panel](), list[str](), list[Missing]()
    for short, (subject, found) in zip(_told_apart([subject for subject, _ in every]), every, strict=True):
        try:
            made, insights = describe(subject, found)
        except Missing as what:
            missing.append(what)
            sentences = [str(what)]
        else:
            panels += made
            sentences = [*insights, *_doubts(made)]
        told += sentences if len(every) == 1 else [f"{short}: {sentence}" for sentence in sentences]
    if not panels:
        raise missing[0]
    return Chart(name, title, tuple(panels), tuple(told))


def of_each(
    name: str,
    title: str,
    groups: Iterable[tuple[str, Found]],
    panels: Callable[[str, Found], Iterable[Panel]],
    insights: Callable[[Found], Iterable[str]],
    otherwise: str,
) -> Chart:
    """The same of panels and insights that are worked out apart; Missing, for the reason ``otherwise``, where there is
    no panel.
    """

    def describe(group: str, found: Found) -> tuple[Sequence[Panel], Iterable[str]]:
        made = [*panels(group, found)]
        if not made:
            raise Missing(otherwise)
        return made, insights(found)

    every = [*groups]
    if not every:
        raise Missing(otherwise)
    return chart(name, title, every, describe)


def lengths_axis(lengths: Sequence[int]) -> Axis:
    """T, in powers of two, marked where it was measured; where that is too often, at the powers of two among these."""
    crowded = any(after < CROWDED * before for before, after in pairwise(lengths))
    powers = [length for length in lengths if length & (length - 1) == 0]
    marked = powers if crowded and len(powers) > 1 else lengths
    return Axis("new tokens T", "log2", ticks=tuple(map(float, marked)))


def _told_apart(titles: list[str]) -> list[str]:
    """The titles without the parts that all begin with and all end with; whole, where this leaves nothing of one."""
    parts = [re.split("(?<=[,:]) ", title) for title in titles]
    while all(parts) and len({one[0] for one in parts}) == 1:
        parts = [one[1:] for one in parts]
    while all(parts) and len({one[-1] for one in parts}) == 1:
        parts = [one[:-1] for one in parts]
    short = [" ".join(one).rstrip(",:") for one in parts]
    return short if all(short) else titles


def _doubts(panels: Iterable[Panel]) -> Iterator[str]:
    """A sentence for each variant that is drawn though a record says that it is not valid, and where it is not."""
    points = (point for panel in panels for series in panel.series for point in series.points)
    drawn = {case.name: case for point in points for case in point.cases}.values()
    for variant, cases in grouped(drawn, lambda case: case.variant).items():
        for why, unfit in grouped((case for case in cases if not case.valid), _why).items():
            lengths = "" if len(unfit) == len(cases) else listed([f"{one:,}" for one in axis(unfit, "new_tokens")])
            yield f"{variant} is drawn, but not valid{lengths and f' at T = {lengths}'}: {why}"


def _why(case: Case) -> str:
    return "; ".join(case.notes) or "its record does not say why"
