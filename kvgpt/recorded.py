"""Records read back: cases, and the results files and journals that they stand in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvgpt import journal, strict_json
from kvgpt.record import check

LARGEST_FILE = 64 * 2**20  # bytes


class Workload(dict[str, Any]):
    """A workload as read back: a report that asks for a field which it lacks gets a ValueError that names the file."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        super().__init__(fields)
        self.where = where

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self.where}: record: workload has no {name!r}, which this report needs")


@dataclass(frozen=True)
class Case:
    """A record as read back from a results file."""

    name: str
    family: str
    variant: str
    canonical: str
    workload: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    valid: bool
    notes: tuple[str, ...]
    details: Mapping[str, Any]

    def value(self, metric: str) -> float | None:
        """The figure of this name in SI units; None where it was not measured."""
        figure = self.metrics.get(metric)
        return None if figure is None else figure["value"]

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The ends of its 95% interval; None where it has none."""
        low_high = self.metrics.get(metric, {}).get("interval")
        return None if low_high is None else (low_high[0], low_high[1])


@dataclass(frozen=True)
class Results:
    """A results file: its cases in their order, and the device they ran on; ``repeated`` where :func:`merge` left some
    out because they were there already.
    """

    path: Path
    device: Mapping[str, Any]
    cases: tuple[Case, ...]
    repeated: tuple[Case, ...] = ()

    def of(self, family: str, metric: str) -> list[Case]:
        """The cases of a family that have this metric."""
        return [case for case in self.cases if case.family == family and metric in case.metrics]


def read(path: Path) -> Results:
    """A pytest-benchmark JSON written by kvgpt's benchmarks, or the journal of a run, whole or cut short (``*.jsonl``);
    ValueError says what is wrong with any other file.
    """
    benchmarks, device = _of_journal(path) if path.suffix == ".jsonl" else _of_json(path)
    cases = []
    for number, benchmark in enumerate(benchmarks):
        where = f"{path}: benchmark {number}"
        extra = benchmark.get("extra_info") if isinstance(benchmark, dict) else None
        made = extra.get("kvgpt") if isinstance(extra, dict) else None
        if made is None:
            continue
        if not isinstance(made, dict):
            raise ValueError(f"{where}: record: expected an object")
        try:
            check(made)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        validity, notes = made["validity"], tuple(map(str, made["validity"]["notes"]))
        identity = (str(benchmark.get("fullname", number)), made["family"], made["variant"], made["canonical"])
        figures = (made["metrics"], validity["ok"], notes, made.get("details", {}))
        cases.append(Case(*identity, Workload(made["workload"], where), *figures))
    if not cases:
        raise ValueError(f"{path}: {len(benchmarks)} benchmarks, none with a record of kvgpt's")
    return Results(path, device, tuple(cases))


def _of_json(path: Path) -> tuple[list[Any], Mapping[str, Any]]:
    data = strict_json.read(path, LARGEST_FILE, "a results file")
    benchmarks, machine = data.get("benchmarks"), data.get("machine_info")
    if not isinstance(benchmarks, list) or not isinstance(machine, dict):
        raise ValueError(f"{path}: no results of pytest-benchmark: expected 'benchmarks' and 'machine_info'")
    own = machine.get("kvgpt")
    device = own.get("device", {}) if isinstance(own, dict) else {}
    return benchmarks, device if isinstance(device, dict) else {}


def _of_journal(path: Path) -> tuple[list[Any], Mapping[str, Any]]:
    found = journal.read(path)
    if found is None:
        raise ValueError(f"{path}: an empty journal: its run ended before a case did")
    return list(found.entries.values()), found.header["device"]


def merge(several: Sequence[Results]) -> Results:
    """The cases of several results as one: of those with one family, variant and workload the first, the others in
    ``repeated``. ValueError where they ran on devices that differ, with both names.
    """
    if not several:
        raise ValueError("no results to merge: name at least one file")
    first, kept, repeated = several[0], dict[Any, Case](), list[Case]()
    for results in several:
        _check_device(first, results)
        for case in results.cases:
            identity = case.family, case.variant, frozenset(case.workload.items())
            if kept.setdefault(identity, case) is not case:
                repeated.append(case)
    return Results(first.path, first.device, tuple(kept.values()), tuple(repeated))


def _check_device(first: Results, other: Results) -> None:
    differ = journal.differences(first.device, other.device)
    if differ:
        names = [f"{one.path} ran on {one.device.get('name', 'an unknown device')}" for one in (first, other)]
        raise ValueError(f"{', '.join(names)}: {'; '.join(differ)}: figures of different devices are not merged")
