"""The plan of a sweep: which cases belong together, and which worker begins with which. It follows from the cases."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvgpt import strict_json

SCHEMA = 1
LARGEST = 64 * 2**20  # bytes
FIELDS = {"schema": int, "device": str, "workers": int, "settings": dict, "groups": list}


@dataclass(frozen=True)
class Group:
    """One comparison: all variants of one workload, measured by one worker, one after another."""

    key: str  # the benchmark and the workload, without the variant
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """``groups`` in the order of their numbers, the same on every machine; ``settings`` are what is measured."""

    device: str
    workers: int
    settings: Mapping[str, Any]
    groups: tuple[Group, ...]

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(case for group in self.groups for case in group.cases)

    @property
    def shares(self) -> tuple[tuple[int, ...], ...]:
        """Of each worker, the numbers of the groups that it begins with, in this order."""
        return share([len(group.cases) for group in self.groups], self.workers)

    def offered(self, worker: int) -> tuple[int, ...]:
        """The groups in the order in which ``worker`` (from 1) asks for them: its own, then the others' last ones."""
        following = [self.shares[(worker + more) % self.workers] for more in range(self.workers - 1)]
        return (*self.shares[worker - 1], *(number for one in following for number in reversed(one)))

    def text(self) -> str:
        """As a file has it."""
        return json.dumps(strict_json.plain({"schema": SCHEMA, **asdict(self)}), indent=4, allow_nan=False) + "\n"


def read(path: Path) -> Plan:
    """The plan in a file; ValueError says why it is none."""
    made = strict_json.read(path, LARGEST, "the plan of a sweep")
    for name, kind in FIELDS.items():
        if not isinstance(made.get(name), kind):
            raise ValueError(f"{path}: {name}={made.get(name)!r:.80}: expected {kind.__name__}: no plan of a sweep")
    if made["schema"] != SCHEMA:
        raise ValueError(f"{path}: schema {made['schema']}: this version reads schema {SCHEMA}")
    try:
        groups = tuple(Group(str(one["key"]), tuple(map(str, one["cases"]))) for one in made["groups"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: groups: expected objects of a key and cases: no plan of a sweep") from error
    return Plan(made["device"], made["workers"], made["settings"], groups)


def group(keys: Mapping[str, str]) -> tuple[Group, ...]:
    """The groups of cases, given the key of each by its name: the largest first, then by key."""
    together: defaultdict[str, list[str]] = defaultdict(list)
    for case, key in keys.items():
        together[key].append(case)
    made = [Group(key, tuple(sorted(cases))) for key, cases in together.items()]
    return tuple(sorted(made, key=lambda one: (-len(one.cases), one.key)))


def share(sizes: Sequence[int], workers: int) -> tuple[tuple[int, ...], ...]:
    """The numbers of groups of these ``sizes`` that each worker begins with: each in turn to who has least so far.

    No two workers differ by more than the largest group. ValueError where there is no worker.
    """
    if workers < 1:
        raise ValueError(f"{workers} workers: a sweep needs at least 1")
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for number, size in enumerate(sizes):
        least = loads.index(min(loads))
        shares[least].append(number)
        loads[least] += size
    return tuple(map(tuple, shares))
