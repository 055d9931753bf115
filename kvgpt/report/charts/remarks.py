"""What stands out among phases: the one furthest from the reference's, and what a cache does to the rest of a step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case
from kvgpt.report.chart import Tone
from kvgpt.report.charts.measured import PAIR
from kvgpt.report.charts.phase_times import PHASES, times_of
from kvgpt.report.charts.phrases import difference

REST = "other"


@dataclass(frozen=True)
class Remark:
    """A text about one phase of one variant."""

    variant: str
    phase: str
    text: str
    tone: Tone


def remarks(each: Mapping[str, Case]) -> Iterator[Remark]:
    """None where the reference was not measured."""
    if REFERENCE not in each:
        return
    usual = times_of(each[REFERENCE])
    apart = {
        (name, phase): time - usual[phase]
        for name, case in each.items()
        for phase, time in times_of(case).items()
        if name != REFERENCE and phase in usual and time != usual[phase]
    }
    if apart:
        name, phase = max(apart, key=lambda one: abs(apart[one]))
        more = apart[name, phase]
        text = f"{PHASES[phase]}: {difference(more, 's')} against {REFERENCE}"
        yield Remark(name, phase, text, "poor" if more > 0 else "good")
    uncached = times_of(each[PAIR[0]]).get(REST) if PAIR[0] in each else None
    if uncached and REST in usual:
        ratio = usual[REST] / uncached
        text = f"{PHASES[REST]}: {ratio:.2f} times that of {PAIR[0]}"
        yield Remark(REFERENCE, REST, text, "poor" if ratio > 1 else "good")
