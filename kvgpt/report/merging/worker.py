"""A worker's results file: pytest-benchmark's whole JSON, checked as far as merging and its ``compare`` rely on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvgpt import record, recorded, strict_json

Entry = Mapping[str, Any]
DOCUMENT = {"benchmarks": list, "machine_info": dict, "commit_info": dict, "datetime": str, "version": str}
BENCHMARK = {"fullname": str, "name": str, "stats": dict, "extra_info": dict}


@dataclass(frozen=True)
class Worker:
    """``asked`` are the names of the cases that it was to measure, ``left_out`` of those that it could not, by reason;
    both are empty where the file does not say. ``strangers`` counts the records of a schema that is not read here.
    """

    path: Path
    document: Mapping[str, Any]
    asked: frozenset[str]
    left_out: Mapping[str, list[str]]
    strangers: int

    @property
    def entries(self) -> list[Entry]:
        return list(self.document["benchmarks"])

    @property
    def own(self) -> Mapping[str, Any]:
        """What kvgpt wrote beside the cases."""
        return dict(self.document.get("kvgpt", {}))

    @property
    def device(self) -> Mapping[str, Any]:
        """The stable facts of its device; none where pytest-benchmark alone wrote the file."""
        own = self.document["machine_info"].get("kvgpt")
        found = own.get("device") if isinstance(own, dict) else None
        return found if isinstance(found, dict) else {}


def read(path: Path, any_schema: bool = False) -> Worker:
    """A worker's file; ValueError says what is wrong with it. Records of other schemas are taken as they are where
    ``any_schema`` allows it.
    """
    if path.suffix == ".jsonl":
        raise ValueError(f"{path}: results are merged as JSON: of a journal, --kvgpt-resume writes its run's")
    document = strict_json.read(path, recorded.LARGEST_FILE, "a results file")
    _check(document, DOCUMENT, str(path))
    strangers = 0
    for number, entry in enumerate(document["benchmarks"]):
        where = f"{path}: benchmark {number}"
        _check(entry, BENCHMARK, where)
        strangers += not _is_read(entry["extra_info"], where, any_schema)
    own = document.get("kvgpt", {})
    _check({"kvgpt": own}, {"kvgpt": dict}, str(path))
    said = {"cases": [], "left_out": {}, "workers": []} | own
    _check(said, {"cases": list, "left_out": dict, "workers": list}, f"{path}: kvgpt")
    for names in (said["cases"], *said["left_out"].values()):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: kvgpt: cases and left_out: expected lists of names, found {names!r:.80}")
    return Worker(path, document, frozenset(said["cases"]), said["left_out"], strangers)


def made_by(entry: Entry) -> dict[str, Any] | None:
    """The record in an entry, where it has one that this version reads."""
    found = entry["extra_info"].get("kvgpt")
    return found if isinstance(found, dict) and found.get("schema") == record.SCHEMA else None


def _check(made: Any, expected: Mapping[str, type], where: str) -> None:
    if not isinstance(made, dict):
        raise ValueError(f"{where}: {made!r:.80}: expected an object")
    for name, kind in expected.items():
        if not isinstance(made.get(name), kind):
            raise ValueError(f"{where}: {name}={made.get(name)!r:.80}: expected {kind.__name__}")


def _is_read(extra_info: Mapping[str, Any], where: str, any_schema: bool) -> bool:
    """Whether this version reads what an entry says of itself; a benchmark without a record has nothing to be read."""
    made = extra_info.get("kvgpt")
    if made is None:
        return True
    _check(extra_info, {"kvgpt": dict}, where)
    if any_schema and made.get("schema") != record.SCHEMA:
        return False
    try:
        record.check(made)
    except ValueError as error:
        way_out = "" if made.get("schema") == record.SCHEMA else ": --allow schemas merges it as it is"
        raise ValueError(f"{where}: {error}{way_out}") from error
    return True
