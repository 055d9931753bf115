"""A chart of several subjects: the same panels for each."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from kvgpt.recorded import Case
from kvgpt.report.chart import Chart, Missing, Panel
from kvgpt.report.select import axis, pick, subjects

G = TypeVar("G")
Group = tuple[str, list[Case]]  # a title, and the cases that are compared under it


def of_each(
    name: str,
    title: str,
    groups: Iterable[tuple[str, G]],
    panels: Callable[[str, G], Iterable[Panel]],
    insights: Callable[[G], Iterable[str]],
    otherwise: str,
) -> Chart:
    """The panels of each group that has any, and its insights, which name their group where there are several.

    Missing, for the reason ``otherwise``, where no group has panels.
    """
    drawn = [(group, found, made) for group, found in groups if (made := tuple(panels(group, found)))]
    if not drawn:
        raise Missing(otherwise)
    short = _told_apart([group for group, _, _ in drawn])
    told = [
        sentence if len(drawn) == 1 else f"{own}: {sentence}"
        for own, (_, found, made) in zip(short, drawn, strict=True)
        for sentence in (*insights(found), *_doubts(made))
    ]
    return Chart(name, title, tuple(panel for _, _, made in drawn for panel in made), tuple(told))


def at_one_length(cases: Iterable[Case], usual: int) -> list[Group]:
    """The cases of each subject at one T, which its title says."""
    groups = []
    for title, several in subjects(cases).items():
        length = length_to_draw(axis(several, "new_tokens"), usual)
        groups.append((f"{title}, T = {length:,}", pick(several, new_tokens=length)))
    return groups


def length_to_draw(measured: Iterable[int], usual: int) -> int:
    """The T of a chart at one T: the usual one where it was measured, else the largest."""
    lengths = set(measured)
    return usual if usual in lengths else max(lengths)


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
    """A sentence for each variant that is drawn though its record says that it is not valid."""
    series = [one for panel in panels for one in panel.series]
    cases = [case for one in series for point in one.points for case in point.cases if not case.valid]
    for variant, why in dict.fromkeys((case.variant, "; ".join(case.notes)) for case in cases):
        yield f"{variant} is drawn, but not valid: {why or 'its record does not say why'}"
