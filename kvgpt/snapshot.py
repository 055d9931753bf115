"""What a cache holds, on disk: one file of safetensors, written whole or not at all and read strictly."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

FORMAT = 1
KEY = "kvgpt-cache"  # of the safetensors header, whose values are text


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write ``tensors`` and a ``header`` of names and numbers."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(whole, {KEY: json.dumps({"format": FORMAT, **header})})
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        (Path(scratch) / path.name).write_bytes(data)
        (Path(scratch) / path.name).replace(path)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header; ValueError for what :func:`write` has not written."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as a saved cache: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path}: no saved cache: its header has no {KEY!r}")
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: format {header.get('format')!r}: this version reads format {FORMAT}")
    return tensors, header
