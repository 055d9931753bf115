"""Choosing cases: by a workload's fields, by variant, by what was scored."""

from collections.abc import Iterable
from typing import Any

from kvgpt.recorded import Case


def pick(cases: Iterable[Case], **fields: Any) -> list[Case]:
    """The cases whose workload has these values."""
    return [case for case in cases if all(case.workload.get(name) == value for name, value in fields.items())]


def axis(cases: Iterable[Case], field: str) -> list[Any]:
    """The values that a field of the workload takes, in order."""
    return sorted({case.workload[field] for case in cases if field in case.workload})


def by_variant(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """{variant: its cases by length}, variants as they come."""
    curves: dict[str, list[Case]] = {}
    for case in cases:
        curves.setdefault(case.variant, []).append(case)
    return {name: sorted(curve, key=lambda case: case.workload["new_tokens"]) for name, curve in curves.items()}


def scored(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """{mode: its cases}."""
    modes: dict[str, list[Case]] = {}
    for case in cases:
        modes.setdefault(str(case.workload["mode"]), []).append(case)
    return modes


def subjects(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """{title: the cases of one model, weights, dtype, device and batch size}: a panel each."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        workload = case.workload
        title = f"{workload['model']} ({workload['weights']}), {workload['dtype']}, {workload['device']}"
        if "batch_size" in workload:
            title += f", B = {workload['batch_size']}"
        groups.setdefault(title, []).append(case)
    return groups


def latest_length(*families: list[Case]) -> int | None:
    """The largest number of new tokens that all families were measured at."""
    common = set.intersection(*(set(axis(cases, "new_tokens")) for cases in families))
    return max(common, default=None)
