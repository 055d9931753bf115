"""Prepared corpora: a directory of token ids on disk, mapped into memory, so that 18 GB train in little of it.

``train.bin`` and ``validation.bin`` are ids, uint16, little-endian, documents told apart by the end-of-text token;
``corpus.json`` says what they are. The description is written last and the directory appears whole.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kvgpt import strict_json
from kvgpt.corpora import DESCRIPTION
from kvgpt.text.dividing import PARTS
from kvgpt.text.encodings import Tokenizer
from kvgpt.text.texts import Corpus, Part

FORMAT = 1
FILES = {"train": "train.bin", "held_out": "validation.bin"}
LARGEST = 2**16  # bytes of a description
ITEM = np.dtype("<u2")
SAMPLES = 1024  # blocks of a large file that are looked at when it is opened
BLOCK = 1024  # ids
KEYS = {"name": str, "source": str, "rule": str, "sha256": str, "encoding": dict, "parts": dict}
ENCODING_KEYS = {"name": str, "vocab_size": int, "fingerprint": str}
PART_KEYS = {"documents": int, "tokens": int, "largest": int, "sha256": str}


@dataclass(frozen=True)
class Prepared(Corpus):
    """A corpus whose tokens are on disk. ``encoding`` and ``parts`` are those of its description."""

    directory: Path
    source: str
    rule: str
    encoding: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]]

    @property
    def trains(self) -> bool:
        return True

    def tokens(self, part: Part, encoding: Tokenizer) -> np.ndarray:
        """Token ids (N,) uint16 of ``train`` or ``held_out``, mapped and never read whole; ValueError where they are
        those of another encoding.
        """
        if encoding.fingerprint != self.encoding["fingerprint"]:
            raise ValueError(
                f"{self.directory}: tokens of the encoding {self.encoding['name']!r}, and the model's is "
                f"{encoding.name!r}: prepare the text again with `kvgpt fetch NAME --from FILE "
                f"--encoding {encoding.name}`, or train a model with a vocabulary of {self.encoding['vocab_size']}"
            )
        return np.memmap(self.directory / FILES[part], dtype=ITEM, mode="r")

    def verify(self) -> None:
        """Read every byte: ValueError unless the files are, to the bit, those that were written."""
        for part, entry in self.parts.items():
            path = self.directory / FILES[part]
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry["sha256"]:
                raise ValueError(f"{path}: sha256 {found}, {DESCRIPTION} has {entry['sha256']}: {_way_out(self.name)}")


def read(directory: Path) -> Prepared:
    """A prepared corpus, checked: its description, the sizes of its files, and a sample of their ids."""
    path = directory / DESCRIPTION
    made = strict_json.read(path, LARGEST, "a prepared corpus")
    if made.get("format") != FORMAT:
        raise ValueError(f"{path}: format {made.get('format')!r}: this version reads format {FORMAT}")
    _check(path, {name: value for name, value in made.items() if name != "format"}, KEYS)
    _check(path, made["encoding"], ENCODING_KEYS)
    if set(made["parts"]) != set(PARTS):
        raise ValueError(f"{path}: parts {', '.join(map(repr, made['parts']))}: expected {', '.join(PARTS)}")
    vocab_size = made["encoding"]["vocab_size"]
    for part, entry in made["parts"].items():
        _check(path, entry, PART_KEYS)
        if not 0 <= entry["largest"] < vocab_size or entry["tokens"] < 1:
            raise ValueError(
                f"{path}: {part}: {entry['tokens']} tokens up to id {entry['largest']}: at least one is needed, below "
                f"the vocabulary's {vocab_size}"
            )
        _sample(directory / FILES[part], made["name"], entry, vocab_size)
    del made["format"]
    return Prepared(**made, directory=directory, train=(), held_out=())


def describe(directory: Path, fields: Mapping[str, Any]) -> None:
    """Write the description of a directory whose ids are there."""
    strict_json.write(directory / DESCRIPTION, {"format": FORMAT, **fields})


def _check(path: Path, fields: Any, known: Mapping[str, type]) -> None:
    if not isinstance(fields, dict) or set(fields) != set(known):
        raise ValueError(f"{path}: expected {', '.join(known)}, found {', '.join(map(repr, fields)) or 'nothing'}")
    for name, kind in known.items():
        if type(fields[name]) is not kind:
            raise ValueError(f"{path}: {name}={fields[name]!r}: expected {kind.__name__}")


def _sample(path: Path, name: str, entry: Mapping[str, Any], vocab_size: int) -> None:
    """ValueError unless the file has its size, and every id that is looked at is in the vocabulary."""
    size, expected = path.stat().st_size if path.is_file() else 0, ITEM.itemsize * entry["tokens"]
    if size != expected:
        raise ValueError(f"{path}: {size} bytes, {DESCRIPTION} has {expected}: {_way_out(name)}")
    ids = np.memmap(path, dtype=ITEM, mode="r")
    step = max(1, math.ceil(len(ids) / BLOCK / SAMPLES))  # every block of a small file
    for start in range(0, len(ids), step * BLOCK):
        largest = int(ids[start : start + BLOCK].max())
        if largest >= vocab_size or largest > entry["largest"]:
            raise ValueError(
                f"{path}: id {largest} near token {start}, {DESCRIPTION} has none above {entry['largest']}: "
                f"{_way_out(name)}"
            )


def _way_out(name: str) -> str:
    return f"prepare it again, `kvgpt fetch {name} --overwrite`, with --from FILE where it came from one"
