"""Folding: the entries of several passes as one a case. The passes' medians are the samples: within a pass, rounds are
not independent.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

from pytest_benchmark.stats import Stats

from kvgpt import pulses, recorded, strict_json
from kvgpt.statistics import median_interval

Entry = Mapping[str, Any]
OF_TIMES = (
    "fraction_of_floor",
    "time_to_first_token_fraction",
    "total_latency_fraction",
    "fraction_of_bandwidth",
)  # without a unit, and yet as noisy as what they divide


def fold(passes: Sequence[Mapping[str, Entry]]) -> list[dict[str, Any]]:
    """One entry of pytest-benchmark a case, from those of each pass by name; in the order of the first pass.

    A case that a pass lacks is not valid, and neither is one whose bytes or counts differ between passes.
    """
    names = dict.fromkeys(name for entries in passes for name in entries)
    return [_fold([entries.get(name) for entries in passes]) for name in names]


def fold_files(passes: Sequence[Path], results: Path) -> int:
    """Fold the passes' results files into one, written whole or not at all; how many cases it has.

    What they say beside their cases is what the first says.
    """
    entries = fold(list(map(entries_of, passes)))
    strict_json.write(results, {**_read(passes[0]), "benchmarks": entries})
    return len(entries)


def entries_of(path: Path) -> dict[str, Entry]:
    """The entries of one pass by name."""
    return {entry["fullname"]: entry for entry in _read(path)["benchmarks"]}


def keep(path: Path, entries: Iterable[Entry]) -> None:
    """Have one pass's results file hold these entries and no others; it is written whole or not at all."""
    strict_json.write(path, {**_read(path), "benchmarks": list(entries)})


def _read(path: Path) -> dict[str, Any]:
    return strict_json.read(path, recorded.LARGEST_FILE, "a pass")


def _fold(passes: Sequence[Entry | None]) -> dict[str, Any]:
    there = [entry for entry in passes if entry is not None]
    records = [None if entry is None else entry["extra_info"]["kvgpt"] for entry in passes]
    first = deepcopy(dict(there[0]))
    first["extra_info"]["kvgpt"] = _fold_records(records)
    stats = Stats()
    for entry in there:
        for seconds in entry["stats"]["data"]:
            stats.update(seconds)
    first["stats"] = {**stats.as_dict(), "data": stats.data, "iterations": there[0]["stats"]["iterations"]}
    return first


def _fold_records(passes: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    numbered = {number: record for number, record in enumerate(passes, 1) if record is not None}
    records = list(numbered.values())
    notes = [f"missing from pass {n} of {len(passes)}" for n, record in enumerate(passes, 1) if record is None]
    for record in records:
        notes += record["validity"]["notes"]
    for field in dict.fromkeys(field for record in records for field in record["workload"]):
        if any(record["workload"].get(field) != records[0]["workload"].get(field) for record in records):
            notes.append(f"workload {field} differs between passes")
    metrics = {}
    for name in dict.fromkeys(name for record in records for name in record["metrics"]):
        figures = [record["metrics"][name] for record in records if name in record["metrics"]]
        without = [f"pass {n}" for n, one in numbered.items() if name not in one["metrics"] and one["validity"]["ok"]]
        if without:
            notes.append(f"no {name} in {', '.join(without)}")
        if _is_fixed(name, figures[0]) and any(figure["value"] != figures[0]["value"] for figure in figures):
            notes.append(f"{name} differs between passes")
        metrics[name] = _fold_figures(figures)
    valid = not notes and all(record["validity"]["ok"] for record in records)
    made = {**deepcopy(dict(records[0])), "metrics": metrics}
    taken = [record.get("details", {}).get("pulse", {}) for record in records]
    pulse = pulses.folded(taken)
    if pulse:
        made["details"] |= {"pulse": pulse, "pulses": taken}
    return {**made, "validity": {"ok": valid, "notes": list(dict.fromkeys(notes))}}


def _is_fixed(name: str, figure: Mapping[str, Any]) -> bool:
    """Whether a figure follows from the workload alone."""
    return figure["kind"] == "modelled" and figure["unit"] in ("B", "1") and name not in OF_TIMES


def _fold_figures(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of the passes' medians. What has no rounds and is alike in all passes keeps the spread that it has of
    itself, such as that of a perplexity over its text: to measure again says nothing of it.
    """
    rounds = [[sample for samples in one.get("processes", ()) for sample in samples] for one in figures]
    processes = [samples or [one["value"]] for samples, one in zip(rounds, figures, strict=True)]
    medians = [median(samples) for samples in processes]
    folded = {**deepcopy(dict(figures[0])), "value": median(medians)}
    if figures[0]["kind"] == "measured":
        folded["processes"] = processes
    if any(rounds) or len(set(medians)) > 1:
        for spread in ("interval", "stderr"):
            folded.pop(spread, None)
    interval = median_interval(medians)
    if interval is not None:
        folded.setdefault("interval", list(interval))
    return folded
