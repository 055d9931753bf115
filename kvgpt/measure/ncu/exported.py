"""The CSV that ``ncu --import FILE --csv --page raw`` writes: lines of names and of units, and one for each kernel."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 256 * 2**20  # bytes
PREFIX = "kvgpt__"  # of a range: kvgpt__v1__decode
RANGE = re.compile(rf"{PREFIX}(\w+?)(?=[^\w]|$)")
KERNEL, CAPABILITY, ID = "Kernel Name", "CC", "ID"
SCALES = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
UNITS = {"byte": "", "second": "", "inst": "", "op": "", "ops": "", "": ""}
SECONDS = {"nsecond": 1e-9, "ns": 1e-9, "usecond": 1e-6, "us": 1e-6, "msecond": 1e-3, "ms": 1e-3, "s": 1.0}


@dataclass
class Range:
    """What was counted in one range: counter -> its sum over all kernels, in bytes, seconds or events."""

    name: str
    kernels: int = 0
    counts: dict[str, float] = field(default_factory=dict)
    capability: float = 0.0


def read(path: Path) -> dict[str, Range]:
    """{name: what was counted}, of a file without ranges under the file's name. ValueError says what is wrong."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size} bytes: the limit is {LARGEST}")
    return parse(path.read_text(encoding="utf-8", errors="replace"), path.stem)


def parse(text: str, otherwise: str) -> dict[str, Range]:
    """The same of a text; kernels outside of all ranges count where there is no range at all, as ``otherwise``."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("==")]
    rows = list(csv.reader(lines))
    heads = next((place for place, row in enumerate(rows) if ID in row and KERNEL in row), None)
    if heads is None:
        raise ValueError(f"{otherwise}: no table of Nsight Compute: export one with --csv --page raw{_said(text)}")
    names, kernels = rows[heads], rows[heads + 2 :]
    units = dict(zip(names, rows[heads + 1] if len(rows) > heads + 1 else (), strict=False))
    if not kernels:
        raise ValueError(f"{otherwise}: no kernel was captured: was the range ever entered?")
    found: dict[str, Range] = {}
    marked = any("Range" in name for name in names) and any(_range(names, row) for row in kernels)
    for number, row in enumerate(kernels):
        if len(row) != len(names):
            raise ValueError(
                f"{otherwise}: kernel {number} has {len(row)} of {len(names)} columns: the file is cut off"
            )
        where = _range(names, row) if marked else otherwise
        if where:
            _count(found.setdefault(where, Range(where)), dict(zip(names, row, strict=True)), units)
    return found


def _range(names: Sequence[str], row: Sequence[str]) -> str | None:
    """The innermost of our ranges that a kernel was launched in."""
    cells = [cell for name, cell in zip(names, row, strict=False) if "Range" in name]
    inside = [name for cell in cells for name in RANGE.findall(cell)]
    return inside[-1] if inside else None


def _count(into: Range, cells: Mapping[str, str], units: Mapping[str, str]) -> None:
    into.kernels += 1
    into.capability = _number(cells.get(CAPABILITY, "")) or into.capability
    for name, value in _counts(cells, units):
        into.counts[name] = into.counts.get(name, 0.0) + value


def _counts(cells: Mapping[str, str], units: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Counters, which have two underscores in their names; what a kernel has no number for is not counted."""
    for name, cell in cells.items():
        value = _number(cell)
        if "__" in name and not name.startswith("launch__") and value is not None:
            yield name, value * _scale(name, units.get(name, ""))


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return None


def _scale(name: str, unit: str) -> float:
    """SI units in one of a column's; ValueError for one that nobody knows, where it matters."""
    if unit in SECONDS:
        return SECONDS[unit]
    if unit in UNITS:
        return 1.0
    if unit[:1] in SCALES and unit[1:] in UNITS:
        return SCALES[unit[0]]
    if name.endswith(".sum") and ("bytes" in name or "time" in name):
        raise ValueError(f"{name} in {unit!r}: known: {', '.join([*UNITS, *SECONDS])}; export with --print-units base")
    return 1.0


def _said(text: str) -> str:
    first = next((line for line in text.splitlines() if line.startswith("==")), "")
    return f" (it says {first.strip('= ')})" if first else ""
