"""The phases of a step: what they are called, and how long each took."""

from collections.abc import Mapping

from kvgpt.recorded import Case, Results
from kvgpt.report.charts.measured import LARGEST, with_length
from kvgpt.report.charts.one_length import at_one_length
from kvgpt.report.charts.panels import Group

PHASES = {  # from the bottom of a stack to its top, with the names that they are shown by
    "embedding": "embedding",
    "attention": "attention",
    "mlp": "MLP",
    "other": "other",
    "head": "head",
}
USUAL = 512  # T
UNMEASURED = "no phases were measured"


def groups(results: Results) -> list[Group]:
    """The cases of each subject that have phases, at one T."""
    timed = [case for case in results.cases if case.family == "phases" and times_of(case)]
    return at_one_length(with_length(timed), USUAL)


def times_of(case: Case) -> dict[str, float]:
    """{phase: seconds}, of the phases that were timed."""
    found = {phase: case.value(f"phase_{phase}") for phase in PHASES}
    return {phase: value for phase, value in found.items() if value is not None and 0 <= value < LARGEST}


def whole(case: Case) -> float | None:
    """The time of all phases together; None where one of them is unknown, and where they took none."""
    times = times_of(case)
    return (sum(times.values()) or None) if len(times) == len(PHASES) else None


def wholes(cases: Mapping[str, Case]) -> dict[str, float]:
    """{variant: the time of all its phases}, where it is known."""
    found = {name: whole(case) for name, case in cases.items()}
    return {name: total for name, total in found.items() if total is not None}
