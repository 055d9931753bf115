"""Recipes: what is trained, on what and how, or what is evaluated, in a TOML file that says no more than that.

A file opens with a comment, its document. ``[model]`` has a ``preset`` or fields of GPTConfig, or both, or the
checkpoint ``init_from``; ``[data]`` the ``corpus``; ``[schedule]`` fields of Schedule. Or ``[evaluation]`` alone.
"""

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from kvgpt.config import PRESETS, GPTConfig, sharing_group
from kvgpt.recipes import Variant
from kvgpt.training.schedule import Schedule

LARGEST = 2**16  # bytes of a recipe
LARGEST_WHOLE = 2**63  # whole numbers of TOML have 64 bits
MODES = ("teacher_forced", "autoregressive")
FOLDER = resources.files("kvgpt") / "training" / "presets"
WITH_INIT_FROM = ("sharing",)  # the one field that a checkpoint's own config may be given anew


@dataclass(frozen=True)
class Recipe:
    """A training. ``model`` are fields of GPTConfig: those that differ from the ``preset``, or ``sharing`` alone where
    the weights and their config are those of the checkpoint ``init_from``.
    """

    name: str
    document: str
    corpus: str
    model: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    init_from: str | None = None
    schedule: Schedule = field(default_factory=Schedule)

    def config(self) -> GPTConfig:
        """The model's config; ValueError where it is the checkpoint's, which is to be asked."""
        if self.init_from is not None:
            raise ValueError(f"recipe {self.name}: the config is that of {self.init_from}")
        return GPTConfig(**{**PRESETS.get(self.preset or "", {}), **self.model})


@dataclass(frozen=True)
class Evaluation:
    """A score of a published model."""

    name: str
    document: str
    model: str
    corpus: str
    variants: tuple[str, ...] = ("v1",)
    mode: str = "teacher_forced"

    def __post_init__(self) -> None:
        if self.model not in PRESETS:
            raise ValueError(f"model={self.model!r}: known: {', '.join(PRESETS)}")
        if self.mode not in MODES:
            raise ValueError(f"mode={self.mode!r}: known: {', '.join(MODES)}")
        for name in self.variants:
            Variant.parse(name)


def evaluation_command(recipe: Evaluation) -> str:
    """The command that measures it."""
    words = ["pytest", "benchmarks/bench_perplexity.py", "--kvgpt-model", recipe.model, "--kvgpt-corpus", recipe.corpus]
    words += ["--kvgpt-variants", ",".join(recipe.variants), "-k", recipe.mode, f"--benchmark-json={recipe.name}.json"]
    return shlex.join(words)


def names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(Path(file.name).stem for file in FOLDER.iterdir() if file.name.endswith(".toml")))


def read(name: str) -> Recipe | Evaluation:
    """A recipe by name or from a ``*.toml`` file; ValueError names the file, the line and what is known instead."""
    if name in names():
        where, data = f"{name}.toml", (FOLDER / f"{name}.toml").read_bytes()
    elif name.endswith(".toml"):
        where, data = name, _bytes(Path(name))
    else:
        raise ValueError(f"unknown recipe {name!r}: known: {', '.join(names())}, or the path of a TOML file")
    try:
        text = data.decode()
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not TOML: {error}") from error
    return _parsed(_File(where, text), Path(name).stem, table)


@dataclass(frozen=True)
class _File:
    """A file's text, to say where in it something is wrong."""

    where: str
    text: str

    def error(self, message: object, section: str, key: str | None = None) -> ValueError:
        """``FILE:LINE: message``, the line of the key in its section, or of the section, where it can be told."""
        current, found = "", None
        for number, line in enumerate(self.text.splitlines(), 1):
            if heading := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
                current = heading[1].strip("\"'")
                found = number if current == section and key is None else found
            elif key is not None and current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                found = number
        return ValueError(f"{self.where}{'' if found is None else f':{found}'}: {message}")

    @property
    def document(self) -> str:
        """The comment that the file opens with."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.removeprefix("#").removeprefix(" "))
        return "\n".join(lines)


def _parsed(file: _File, name: str, table: Mapping[str, Any]) -> Recipe | Evaluation:
    sections = ("evaluation",) if "evaluation" in table else ("model", "data", "schedule")
    for section, value in table.items():
        if section not in sections:
            known = ", ".join(f"[{one}]" for one in sections)
            key = None if isinstance(value, dict) else section
            raise file.error(f"unknown {section!r}: known: {known}", section if key is None else "", key)
        if not isinstance(value, dict):
            raise file.error(f"{section}={value!r}: expected a section, [{section}]", "", section)
    if sections == ("evaluation",):
        own = {one: kind for one, kind in get_type_hints(Evaluation).items() if one not in ("name", "document")}
        given = _checked(file, "evaluation", table["evaluation"], own)
        _needed(file, "evaluation", given, "model", "corpus")
        try:
            return Evaluation(name=name, document=file.document, **given)
        except ValueError as error:
            key = str(error).partition("=")[0]
            raise file.error(error, "evaluation", key if key in given else "variants") from error
    data = _checked(file, "data", table.get("data", {}), {"corpus": str})
    _needed(file, "data", data, "corpus")
    schedule = _checked(file, "schedule", table.get("schedule", {}), get_type_hints(Schedule))
    model = _checked(
        file, "model", table.get("model", {}), {"preset": str, "init_from": str, **get_type_hints(GPTConfig)}
    )
    preset, init_from = model.pop("preset", None), model.pop("init_from", None)
    if preset is not None and preset not in PRESETS:
        raise file.error(f"unknown preset {preset!r}: known: {', '.join(PRESETS)}", "model", "preset")
    if init_from is not None:
        for key in ([] if preset is None else ["preset"]) + [key for key in model if key not in WITH_INIT_FROM]:
            raise file.error(
                f"{key} beside init_from: the checkpoint says it; known: {', '.join(WITH_INIT_FROM)}", "model", key
            )
        try:
            sharing_group(model.get("sharing"))
        except ValueError as error:
            raise file.error(error, "model", "sharing") from error
    try:
        made = Recipe(name, file.document, data["corpus"], model, preset, init_from, Schedule(**schedule))
    except ValueError as error:
        raise file.error(error, "schedule", str(error).partition("=")[0]) from error
    if init_from is None:
        if preset is None:
            _needed(file, "model", model, *(one.name for one in fields(GPTConfig)[:5]))
        try:
            made.config()
        except ValueError as error:
            key = str(error).partition("=")[0]
            raise file.error(error, "model", key if key in model else "sharing") from error
    return made


def _checked(file: _File, section: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section, each of a known key and of its type."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise file.error(f"[{section}] has no {key!r}: known: {', '.join(known)}", section, key)
        many = get_origin(known[key]) is tuple
        kinds = [kind for kind in get_args(known[key]) or (known[key],) if kind not in (type(None), ...)]
        given_all = value if many and isinstance(value, list) else [value]
        if many != isinstance(value, list) or not all(any(_is(one, kind) for kind in kinds) for one in given_all):
            expected = f"{'a list of ' * many}{kinds[0].__name__}"
            raise file.error(f"{key}={_short(value)}: expected {expected}", section, key)
        values[key] = tuple(value) if many else float(value) if kinds == [float] else value
    return values


def _is(value: Any, kind: type) -> bool:
    """Whether a value of TOML is of this type: a whole number will do for a float, and true is no number."""
    return (type(value) is kind or (kind is float and type(value) is int)) and not (
        type(value) is int and abs(value) >= LARGEST_WHOLE
    )


def _short(value: Any) -> str:
    """``value`` as an error shows it; Python spells out no number of thousands of digits."""
    return "a number beyond 64 bits" if type(value) is int and abs(value) >= LARGEST_WHOLE else repr(value)[:80]


def _needed(file: _File, section: str, given: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if key not in given:
            raise file.error(f"[{section}] lacks {key!r}", section)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if len(data) > LARGEST:
        raise ValueError(f"{path}: more than {LARGEST} bytes: no recipe is that large")
    return data
