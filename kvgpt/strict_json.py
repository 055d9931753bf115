"""JSON files that anybody may have written: bounded in size and depth, and each key, number and name read one way. What
is written here is read back the same.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvgpt import whole

DEEPEST = 64  # lists and objects in one another; what kvgpt and pytest-benchmark write stays below 16


def read(path: Path, largest: int, what: str) -> dict[str, Any]:
    """The object in a file of at most ``largest`` bytes; ValueError says why it is not ``what``, such as "a config"."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.stat().st_size > largest:
        raise ValueError(f"{path}: {path.stat().st_size} bytes: the limit is {largest}")
    try:
        return parse(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: not {what}: {error}") from error


def parse(data: bytes | str) -> dict[str, Any]:
    """A JSON object; ValueError for what Python's own parser lets through: a key that is there twice, NaN, infinities
    and numbers as large, and nesting beyond :data:`DEEPEST`.
    """
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {DEEPEST}") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inside(one)]
    if level:
        raise ValueError(f"nested deeper than {DEEPEST}")
    return value


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Write an object whole or not at all; OSError leaves the file that was there before."""
    whole.write(path, json.dumps(plain(data), indent=4, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """``value`` in what strict JSON has: functions and classes by their names, and anything else by its text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return str(getattr(value, "__qualname__", value)) if callable(value) else str(value)


def _inside(value: dict[str, Any] | list[Any]) -> Any:
    return value.values() if isinstance(value, dict) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"key {name!r} is there twice")
    return made


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond the largest number that can be kept")
    return number
