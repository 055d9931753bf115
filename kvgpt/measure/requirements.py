"""What two versions of a pyproject.toml require to be installed, and in which packages they differ."""

import re
import tomllib
from typing import Any


def differences(one: str, other: str) -> list[str]:
    """The names of the packages that the two do not require alike; optional ones too, and Python itself."""
    return sorted({_name(line) for line in _required(one) ^ _required(other)})


def _required(pyproject: str) -> set[str]:
    try:
        project = tomllib.loads(pyproject).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"pyproject.toml: not TOML: {error}") from error
    optional: dict[str, list[Any]] = project.get("optional-dependencies", {})
    lines = [*project.get("dependencies", []), *(line for lines in optional.values() for line in lines)]
    lines.append(f"python {project.get('requires-python', '')}")
    return {"".join(str(line).split()) for line in lines}


def _name(line: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", line)
    return found[0] if found else line
