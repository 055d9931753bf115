"""The journal of a benchmark run: one line a case, on disk as soon as the case has ended, whatever becomes of the run.

Lines of strict JSON: a header, which says what run this is, then entries of pytest-benchmark's own JSON, a case each.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kvgpt import strict_json, whole

SCHEMA = 1
SUFFIX = ".journal.jsonl"
WAYS_OUT = "go on with --kvgpt-resume, or delete it"
LARGEST = 64 * 2**20  # bytes
HEADER = {"schema": int, "kvgpt": str, "device": dict, "settings": dict}


@dataclass(frozen=True)
class Journal:
    """A journal as read back: its header, its entries by full name in their order, and its bytes up to the last whole
    line. Of cases that are there twice, ``entries`` has the first and ``repeated`` names the others.
    """

    header: Mapping[str, Any]
    entries: Mapping[str, dict[str, Any]]
    repeated: tuple[str, ...]
    nbytes: int


def beside(results: Path) -> Path:
    """The journal of the run that writes ``results``."""
    return results.with_name(results.name + SUFFIX)


def header(settings: Mapping[str, Any], device: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The first line: what a run must have in common with the one that it goes on with."""
    torch = {"torch": device["torch"]} if "torch" in device else {}
    made = {"schema": SCHEMA, "kvgpt": version, **torch, "device": device, "settings": settings}
    return dict(strict_json.plain(made))


def read(path: Path) -> Journal | None:
    """The journal in a file; None where not even its header is whole. ValueError names the line that is none.

    What follows the last whole line was cut short by the end of its run, and is left out.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size} bytes: the limit is {LARGEST}")
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line's end, if anything, is no whole line
    found: list[dict[str, Any]] = []
    nbytes = 0
    for number, line in enumerate(lines, 1):
        try:
            made = strict_json.parse(line)
        except ValueError as error:
            if number == len(lines):
                break  # written, but not all of it reached the disk
            raise ValueError(f"{path}: line {number}: {error}: delete the line, or the file") from error
        _check(made, f"{path}: line {number}", is_header=not found)
        found.append(made)
        nbytes += len(line) + 1
    if not found:
        return None
    entries: dict[str, dict[str, Any]] = {}
    repeated = [entry["fullname"] for entry in found[1:] if entries.setdefault(entry["fullname"], entry) is not entry]
    return Journal(found[0], entries, tuple(repeated), nbytes)


def _check(made: Mapping[str, Any], where: str, is_header: bool) -> None:
    expected = HEADER if is_header else {"fullname": str, "stats": dict, "extra_info": dict}
    for name, kind in expected.items():
        if not isinstance(made.get(name), kind):
            raise ValueError(f"{where}: {name}={made.get(name)!r}: expected {kind.__name__}: no journal of kvgpt's")
    if is_header and made["schema"] != SCHEMA:
        raise ValueError(f"{where}: schema {made['schema']}: this version reads schema {SCHEMA}")


def differences(before: Mapping[str, Any], now: Mapping[str, Any], name: str = "") -> list[str]:
    """What two headers do not have in common, such as ``settings.rounds was 7, is 5``."""
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{name}{key}.")
        elif old != new:
            found.append(f"{name}{key} was {json.dumps(old)}, is {json.dumps(new)}")
    return found


def lacks(results: Path, entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of those ``entries`` that a results file does not hold as they were measured; all, where it is none."""
    try:
        benchmarks = strict_json.read(results, LARGEST, "a results file").get("benchmarks")
    except ValueError:
        benchmarks = None
    held = {}
    for one in benchmarks if isinstance(benchmarks, list) else []:
        if isinstance(one, dict) and isinstance(one.get("stats"), dict):
            held[one.get("fullname")] = one["stats"].get("data")
    names_data = [(one["fullname"], one["stats"].get("data")) for one in entries]
    return [name for name, data in names_data if name not in held or held[name] != data]


def check_ended(results: Path) -> None:
    """ValueError where the journal beside ``results`` holds a case that ``results`` does not: its run was cut short."""
    path = beside(results)
    found = read(path) if path.exists() else None
    lacking = lacks(results, found.entries.values()) if found else []
    if lacking:
        raise ValueError(f"{path}: {results.name} lacks {len(lacking)} cases that this journal holds: {WAYS_OUT}")


def start(results: Path, opening: Mapping[str, Any]) -> "Writer":
    """The journal of a new run, in the place of that of a run that has ended; ValueError where it has not."""
    check_ended(results)
    writer = open_writer(beside(results))
    try:
        writer.append(opening)
    except OSError:
        writer.close()
        raise
    return writer


def resume(results: Path, opening: Mapping[str, Any]) -> tuple["Writer", Mapping[str, dict[str, Any]]]:
    """The journal of the run to go on with, and the entries in it; of a new run where there is none. ValueError says in
    what the run that is there differs.
    """
    path = beside(results)
    found = read(path) if path.exists() else None
    if found is None:
        return start(results, opening), {}
    differ = differences(found.header, opening)
    if differ:
        raise ValueError(
            f"{path}: --kvgpt-resume: of another run: {'; '.join(differ)}: repeat its options, or delete it"
        )
    return open_writer(path, found.nbytes), found.entries


def keep(results: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Have the journal beside ``results`` hold these entries and no others; it is written whole or not at all."""
    path = beside(results)
    found = read(path)
    if found is not None:
        whole.write(path, "".join(map(_line, [found.header, *entries])))


class Writer:
    """Appends lines, each on disk when :meth:`append` returns; a line that does not fit leaves no trace.

    ``file`` is open for reading and writing in binary, unbuffered; what it holds past ``keep`` bytes is cut off.
    """

    def __init__(self, file: BinaryIO, keep: int = 0) -> None:
        self.file, self.end = file, keep
        self._cut()

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line; OSError where there is no room, with the file as it was."""
        data = _line(line).encode()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
            os.fsync(self.file.fileno())
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell; a torn last line is read as none
                self._cut()
            raise
        self.end += len(data)

    def close(self) -> None:
        self.file.close()

    def _cut(self) -> None:
        self.file.truncate(self.end)
        self.file.seek(self.end)


def _line(line: Mapping[str, Any]) -> str:
    return json.dumps(strict_json.plain(line), allow_nan=False) + "\n"


def open_writer(path: Path, keep: int = 0) -> Writer:
    """A writer that goes on after ``keep`` bytes; ValueError where another run is writing this journal."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(
            f"{path}: another run is writing it: wait for its end, or name another results file"
        ) from error
    except OSError:
        pass  # a file system without locks
    return Writer(file, keep)
