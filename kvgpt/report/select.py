"""Choosing cases: by a workload's fields, by variant, by what was scored."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kvgpt.recipes import Variant
from kvgpt.recorded import Case


def pick(cases: Iterable[Case], **fields: Any) -> list[Case]:
    """The cases whose workload has these values."""
    return [case for case in cases if all(case.workload.get(name) == value for name, value in fields.items())]


def axis(cases: Iterable[Case], field: str) -> list[Any]:
    """The values that a field of the workload takes, in order."""
    return sorted({case.workload[field] for case in cases if field in case.workload})


def grouped(cases: Iterable[Case], title: Callable[[Case], str]) -> dict[str, list[Case]]:
    """{title: the cases that have it}, as they come."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(title(case), []).append(case)
    return groups


def by_variant(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """{variant: its cases by length}, variants as they come."""
    curves = grouped(cases, lambda case: case.variant)
    return {name: sorted(curve, key=lambda case: case.workload["new_tokens"]) for name, curve in curves.items()}


def after_one_token(cases: Iterable[Case]) -> list[Case]:
    """The cases that generate T tokens after a prompt of one, as the original does: what is plotted against T."""
    return [case for case in cases if case.workload.get("prompt", 1) == 1]


def models(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """{title: the cases of one model, weights, dtype and device}."""
    return grouped(cases, lambda case: _model(case.workload))


def subjects(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """{title: the cases of one model, weights, dtype, device and batch size}: a panel each."""
    return grouped(cases, lambda case: _subject(case.workload))


def keeps_a_cache(variant: str) -> bool:
    """Whether a variant keeps anything between steps, as whatever is none of ours is taken to do."""
    try:
        return not Variant.parse(variant).recomputes
    except ValueError:
        return True


def latest_length(*families: list[Case]) -> int | None:
    """The largest number of new tokens that all families were measured at."""
    common = set.intersection(*(set(axis(cases, "new_tokens")) for cases in families))
    return max(common, default=None)


def _subject(workload: Mapping[str, Any]) -> str:
    return ", ".join([_model(workload), *([f"B = {workload['batch_size']}"] if "batch_size" in workload else [])])


def _model(workload: Mapping[str, Any]) -> str:
    """What a workload does not say, such as the dtype of an older record, is left unsaid."""
    weights = f" ({workload['weights']})" if "weights" in workload else ""
    parts = [f"{workload.get('model', 'an unnamed model')}{weights}"]
    parts += [str(workload[field]) for field in ("dtype", "device") if field in workload]
    ranks = workload.get("tensor_parallel")
    return ", ".join([*parts, f"over {ranks} ranks"] if ranks else parts)
