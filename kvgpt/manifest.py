"""The manifest of a checkpoint: the size and the sha256 of each of its files, written beside them, checked at load.

Safetensors has no checksum: a flipped bit gives another model without a word. So has ``config.json``: another
``n_head`` fits the same weights. A directory without a manifest, such as one from the hub, is read unchecked.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kvgpt import strict_json

NAME = "kvgpt-manifest.json"
FORMAT = 1
LARGEST = 2**20  # bytes of a manifest


def write(directory: Path, names: Iterable[str]) -> None:
    """Write the manifest of these files of ``directory``."""
    files = {name: _measure(directory / name) for name in names}
    (directory / NAME).write_text(json.dumps({"format": FORMAT, "files": files}, indent=2) + "\n")


def verify(directory: Path, names: Iterable[str]) -> None:
    """ValueError unless these files of ``directory`` are, to the bit, those of its manifest, where it has one."""
    path = directory / NAME
    if not path.exists():
        return
    files = _read(path)
    for name in names:
        if name not in files:
            raise ValueError(f"{path}: lists no {name!r}: {_way_out(path)}")
        found = _measure(directory / name)
        for what in ("bytes", "sha256"):
            if found[what] != files[name][what]:
                raise ValueError(
                    f"{directory / name}: {what} {found[what]}, its manifest has {files[name][what]}: {_way_out(path)}"
                )


def _way_out(path: Path) -> str:
    return f"fetch or write the checkpoint again, or remove {path} if it was changed on purpose"


def _measure(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _read(path: Path) -> dict[str, dict[str, Any]]:
    made = strict_json.read(path, LARGEST, "a manifest")
    files = made.get("files")
    if set(made) != {"format", "files"} or not isinstance(files, dict):
        raise ValueError(f"{path}: not a manifest: expected format and files, found {', '.join(map(repr, made))}")
    if type(made["format"]) is not int or made["format"] != FORMAT:
        raise ValueError(f"{path}: format {made['format']!r}: this version reads format {FORMAT}")
    for name, entry in files.items():
        if not isinstance(entry, dict) or set(entry) != {"sha256", "bytes"}:
            raise ValueError(f"{path}: not a manifest: {name}: {entry!r}: expected bytes and sha256")
    return files
