"""Files of safetensors: read tensor by tensor, and whatever is wrong with one is a ValueError that names it."""

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

# A header that the library takes may still ask for what torch does not have: sizes beyond int64, a dtype of its own.
DAMAGED = (SafetensorError, OSError, RuntimeError, TypeError, ValueError)


def header(path: Path) -> tuple[list[str], dict[str, str]]:
    """The names of a file's tensors, and what its writer noted; no tensor is read."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys()), dict(file.metadata() or {})
    except DAMAGED as error:
        raise ValueError(f"{path}: cannot be read as safetensors: {error}") from error


def read(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of a file with its name."""
    names, _ = header(path)
    with safe_open(path, framework="pt") as file:
        for name in names:
            try:
                tensor = file.get_tensor(name)
            except DAMAGED as error:
                raise ValueError(f"{path}: tensor {name!r} cannot be read: {error}") from error
            yield name, tensor
