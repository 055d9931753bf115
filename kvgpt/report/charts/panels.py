"""A chart of several subjects: a panel for each, what it says, and which of its points are not to be trusted."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import TypeVar

from kvgpt.report.chart import Axis, Chart, Missing, Panel

Found = TypeVar("Found")
CROWDED = 1.4  # neighbours that are nearer than this leave no room for both their labels


def chart(
    name: str,
    title: str,
    subjects: Mapping[str, Found],
    describe: Callable[[str, Found], tuple[Panel, Sequence[str]]],
) -> Chart:
    """``describe`` makes a panel and its insights of a subject, or says what is Missing there, which is passed on where
    it is so of all. Where there are several subjects, each sentence says which one it is about.
    """
    panels, told, missing = list[Panel](), list[tuple[str, str]](), list[Missing]()
    for subject, found in subjects.items():
        try:
            panel, insights = describe(subject, found)
        except Missing as what:
            missing.append(what)
            told.append((subject, str(what)))
        else:
            panels.append(panel)
            told += [(subject, sentence) for sentence in (*insights, *_doubts(panel))]
    if not panels:
        raise missing[0]
    short = _told_apart([*subjects])
    sentences = [f"{short[subject]}: {sentence}" if len(subjects) > 1 else sentence for subject, sentence in told]
    return Chart(name, title, tuple(panels), tuple(sentences))


def lengths_axis(lengths: Sequence[int]) -> Axis:
    """T, in powers of two, marked where it was measured; where that is too often, at the powers of two among these."""
    crowded = any(after < CROWDED * before for before, after in pairwise(lengths))
    powers = [length for length in lengths if length & (length - 1) == 0]
    marked = powers if crowded and len(powers) > 1 else lengths
    return Axis("new tokens T", "log2", ticks=tuple(map(float, marked)))


def _doubts(panel: Panel) -> list[str]:
    """A sentence for each case among the points that its record says is not valid."""
    cases = {case.name: case for series in panel.series for point in series.points for case in point.cases}
    return [
        f"not valid, and drawn all the same: {case.variant} at T = {case.workload['new_tokens']:,}: "
        f"{'; '.join(case.notes) or 'its record does not say why'}"
        for case in cases.values()
        if not case.valid
    ]


def _told_apart(titles: Sequence[str]) -> dict[str, str]:
    """Each title without the parts that all begin with."""
    parts = [title.split(", ") for title in titles]
    alike = len([*takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))])
    return {", ".join(all_of): ", ".join(all_of[min(alike, len(all_of) - 1) :]) for all_of in parts}
