"""What a cache holds, on disk: one file of safetensors, written whole or not at all and read strictly."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from kvgpt import strict_json, tensorfile

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


def read(path: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header; ValueError for what :func:`write` has not written, and where the header says
    anything else than ``identity`` does.
    """
    _, noted = tensorfile.header(path)
    if KEY not in noted:
        raise ValueError(f"{path}: no saved cache: its header has no {KEY!r}")
    try:
        header = strict_json.parse(noted[KEY])
    except ValueError as error:
        raise ValueError(f"{path}: no saved cache: {KEY}: {error}") from error
    if type(header.get("format")) is not int or header["format"] != FORMAT:
        raise ValueError(f"{path}: format {header.get('format')!r}: this version reads format {FORMAT}")
    for name, mine in identity.items():
        found = header.get(name)
        if name not in header or found != mine or type(found) is not type(mine):  # JSON's true is no 1
            raise ValueError(f"{path}: {name} is {found!r}, this engine's is {mine!r}")
    return dict(tensorfile.read(path)), header
