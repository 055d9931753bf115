"""What a chart at one T is drawn of."""

from collections.abc import Iterable

from kvgpt.recorded import Case
from kvgpt.report.charts.panels import Group
from kvgpt.report.select import axis, pick, subjects


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
