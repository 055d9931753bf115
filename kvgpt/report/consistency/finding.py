"""A finding: one comparison that a rule made, how it came out, and the sentence that says so."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kvgpt.recorded import Case

SLACK = 0.03  # relative: by how much sums and floors may be missed


@dataclass(frozen=True)
class Finding:
    """``excused`` is a comparison that the record itself says not to make."""

    cases: tuple[str, ...]
    outcome: Literal["kept", "broken", "excused"]
    sentence: str


def judged(kept: bool, sentence: str, *cases: Case, excuse: str | None = None) -> Finding:
    """The finding of one comparison between figures of ``cases``; with an excuse it is none, however it comes out."""
    names = tuple(case.name for case in cases)
    return Finding(names, "excused", excuse) if excuse else Finding(names, "kept" if kept else "broken", sentence)


def invalid(*cases: Case) -> str | None:
    """Why times of these cases claim nothing; None where they do. What disturbs a clock changes no byte and no loss."""
    return next((f"not valid: {', '.join(case.notes)}" for case in cases if not case.valid), None)


def size(case: Case, *names: str) -> int | None:
    """The first of these fields of the workload that is a whole number of at least 1."""
    return next((found for name in names if type(found := case.workload.get(name)) is int and found > 0), None)


def same_workload(cases: Iterable[Case]) -> list[list[Case]]:
    """The cases of each family and workload, together."""
    groups: dict[object, list[Case]] = {}
    for case in cases:
        groups.setdefault((case.family, frozenset(case.workload.items())), []).append(case)
    return list(groups.values())
