"""Recipes written as TOML: what is read back is the same recipe."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from kvgpt.training.recipe import Recipe, read
from kvgpt.training.schedule import Schedule


def toml(recipe: Recipe) -> str:
    """The file's text: the document as a comment, the model, the corpus, and what differs from the usual schedule."""
    model = {"preset": recipe.preset, "init_from": recipe.init_from, **recipe.model}
    usual = Schedule()
    schedule = {one.name: getattr(recipe.schedule, one.name) for one in fields(Schedule)}
    changed = {name: value for name, value in schedule.items() if value != getattr(usual, name)}
    document = "".join(f"# {line}".rstrip() + "\n" for line in recipe.document.splitlines())
    sections = {"model": model, "data": {"corpus": recipe.corpus}, "schedule": changed}
    return "\n".join([document, *(_section(name, values) for name, values in sections.items() if values)]).lstrip("\n")


def write(recipe: Recipe, path: Path, overwrite: bool = False) -> None:
    """Write a recipe whole or not at all."""
    check_place(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.toml")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(toml(recipe))
            file.flush()
            os.fsync(file.fileno())
        read(str(partial))
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_place(path: Path, overwrite: bool = False) -> None:
    """ValueError where a recipe cannot be written to ``path``: it is there, or its name is that of no recipe."""
    if path.suffix != ".toml":
        raise ValueError(f"{path}: a recipe is a *.toml file")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: name another --out, or add --overwrite")


def _section(name: str, values: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *lines, ""])


def _value(value: Any) -> str:
    """A value in TOML, whose strings and numbers are spelt as JSON's."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    # TOML takes no character for itself that JSON escapes, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
