"""Pairing: which case of the new results is which of the base, and what keeps two results from being compared."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kvgpt.recorded import Case, Results

SAME_DEVICE = ("kind", "name", "memory", "multiprocessors", "threads", "cores")  # facts of the machine itself
OF_THE_CODE = ("kvgpt",)  # facts that differ between commits
NAMED = 3  # fields in a message


@dataclass(frozen=True)
class Pair:
    """A case of the base, the one of the new results that is the same, and why the two say nothing of each other."""

    base: Case
    new: Case | None
    unlike: str | None = None


def check_devices(base: Results, new: Results) -> list[str]:
    """ValueError where the machines differ; what else is not the same about them comes back as remarks."""
    differ = _differences(base.device, new.device, SAME_DEVICE)
    if differ:
        raise ValueError(
            f"{base.path} and {new.path} are of different devices: {'; '.join(differ)}: measure both on one machine"
        )
    others = [fact for fact in {**base.device, **new.device} if fact not in (*SAME_DEVICE, *OF_THE_CODE)]
    return [f"not the same on both sides: {one}" for one in _differences(base.device, new.device, others)]


def pairs(base: Results, new: Results) -> tuple[list[Pair], list[Case]]:
    """Each case of the base with its partner, and the cases that only the new results have.

    Two records with one family, variant and workload are one case. Where there is none, but the same test made a record
    of another workload, such as over another corpus, the two are not comparable. ValueError where one is there twice.
    """
    partners, named = _by_identity(new), _by_name(new)
    _by_identity(base)  # each once, too
    found, taken = list[Pair](), set[int]()
    for case in base.cases:
        partner = partners.get(_identity(case))
        unlike = None
        if partner is None:
            partner = named.get((case.name, case.family, case.variant))
            unlike = None if partner is None else _unlike(case.workload, partner.workload)
        elif not (case.valid and partner.valid):
            unlike = "; ".join(_invalid("base", case) + _invalid("new", partner))
        found.append(Pair(case, partner, unlike))
        taken.add(id(partner))
    return found, [case for case in new.cases if id(case) not in taken]


def _identity(case: Case) -> object:
    return case.family, case.variant, frozenset(case.workload.items())


def _by_identity(results: Results) -> dict[object, Case]:
    found = {_identity(case): case for case in results.cases}
    if len(found) < len(results.cases):
        counted = Counter(map(_identity, results.cases))
        twice = next(case for case in results.cases if counted[_identity(case)] > 1)
        raise ValueError(f"{results.path}: {twice.name} is there {counted[_identity(twice)]} times: keep one of them")
    return found


def _by_name(results: Results) -> dict[object, Case]:
    """Cases whose name is theirs alone."""
    counted = Counter(case.name for case in results.cases)
    return {(case.name, case.family, case.variant): case for case in results.cases if counted[case.name] == 1}


def _unlike(base: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    differ = _differences(base, new, dict.fromkeys([*base, *new]))
    more = f"; and {len(differ) - NAMED} more" if len(differ) > NAMED else ""
    return f"another workload: {'; '.join(differ[:NAMED])}{more}"


def _differences(base: Mapping[str, Any], new: Mapping[str, Any], fields: Any) -> list[str]:
    return list(_each_difference(base, new, fields))


def _each_difference(base: Mapping[str, Any], new: Mapping[str, Any], fields: Any) -> Iterator[str]:
    for field in fields:
        before, now = base.get(field), new.get(field)
        if before != now:
            yield f"{field} {_said(before)}, {_said(now)}"


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _invalid(side: str, case: Case) -> list[str]:
    return [] if case.valid else [f"{side} is not valid: {', '.join(case.notes)}"]
