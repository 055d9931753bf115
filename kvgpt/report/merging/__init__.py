"""Merging: the results files of several workers as one, which pytest-benchmark's own ``compare`` reads like any.

What must not be mixed is refused: devices, commits, schemas, and two different measurements of one case.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvgpt import recorded, strict_json
from kvgpt.report.merging import missing, origin, repeats, worker
from kvgpt.report.merging.worker import Worker

__all__ = ["ALLOWED", "Merged", "merge", "write"]

ALLOWED = (*origin.FACTS, "repeats")  # what --allow knows


@dataclass(frozen=True)
class Merged:
    """``document`` is pytest-benchmark's JSON; ``remarks`` say what was let pass, ``missing`` what no file has."""

    document: dict[str, Any]
    remarks: tuple[str, ...]
    missing: tuple[str, ...]


def merge(paths: Sequence[Path], allow: Collection[str] = ()) -> Merged:
    """The files as one, cases in the order of the files. ValueError names what does not go together, and the way out.

    What a file says of all its cases (machine, commit, date) is what the first says; what each worker said for itself,
    such as the rates that it probed, is kept as a list.
    """
    if not paths:
        raise ValueError("no results to merge: name at least one file")
    if unknown := [name for name in allow if name not in ALLOWED]:
        raise ValueError(f"--allow {unknown[0]}: known: {', '.join(ALLOWED)}")
    workers = [worker.read(path, any_schema="schemas" in allow) for path in paths]
    nbytes = sum(path.stat().st_size for path in paths)
    if nbytes > recorded.LARGEST_FILE:
        raise ValueError(f"{nbytes} bytes together: a results file has at most {recorded.LARGEST_FILE}: merge fewer")
    remarks = list(origin.agree(workers, frozenset(allow)))
    entries, about_repeats = repeats.once(workers, allowed="repeats" in allow)
    own = _beside(workers, {entry["fullname"] for entry in entries})
    document = {**workers[0].document, "benchmarks": entries, "kvgpt": own}
    return Merged(document, (*remarks, *about_repeats), tuple(missing.missing(workers, entries)))


def write(path: Path, merged: Merged) -> None:
    """Write the document whole or not at all; OSError leaves the file that was there before."""
    strict_json.write(path, merged.document)


def _beside(workers: Sequence[Worker], measured: set[str]) -> dict[str, Any]:
    """What kvgpt says beside the cases: those that were asked for, those that none could measure, and the workers."""
    left_out: dict[str, dict[str, None]] = {}
    for one in workers:
        for reason, names in one.left_out.items():
            left_out.setdefault(reason, {}).update(dict.fromkeys(name for name in names if name not in measured))
    return {
        "cases": list(dict.fromkeys(name for one in workers for name in one.own.get("cases", ()))),
        "left_out": {reason: list(names) for reason, names in left_out.items() if names},
        "workers": [about for one in workers for about in _about(one)],
    }


def _about(one: Worker) -> list[Any]:
    """What a worker said for itself; of a file that is merged already, what each of its workers did."""
    if "workers" in one.own:
        return list(one.own["workers"])
    rest = {name: value for name, value in one.own.items() if name not in ("cases", "left_out")}
    node = one.document["machine_info"].get("node")
    return [{"file": one.path.name, "node": node, "datetime": one.document["datetime"], **rest}]
