"""Corpora whose text is at hand: embedded, a file's, or WikiText-2.

The embedded corpus is the documentation of Python's language topics, which the standard library carries; it differs
between Python releases, so its sha256 goes into every record and figures over different texts are never compared.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kvgpt import hub
from kvgpt.text.dividing import HELD_OUT, Fingerprint, last_tenth
from kvgpt.text.encodings import Tokenizer
from kvgpt.text.kept import encoded

Part = Literal["train", "held_out"]


@dataclass(frozen=True)
class Corpus:
    """Documents to train on, documents held out, and the sha256 that tells the text of this corpus from others."""

    name: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    sha256: str

    @property
    def trains(self) -> bool:
        """Whether there is anything to train on. A text file is wholly held out until it is :meth:`divided`."""
        return bool(self.train)

    def divided(self) -> "Corpus":
        """The corpus to train on: this one, or where all of it is held out, its first nine tenths and its last one.

        The sha256 is another then: what is held out is another text.
        """
        if self.trains:
            return self
        parts = last_tenth("".join(self.held_out))
        fingerprint = Fingerprint()
        for part, document in parts.items():
            fingerprint.add(part, document)
        return Corpus(self.name, (parts["train"],), (parts["held_out"],), fingerprint.hexdigest())

    def tokens(self, part: Part, encoding: Tokenizer) -> np.ndarray:
        """Token ids (N,) uint16 of ``train`` or ``held_out``, documents told apart by the end-of-text token."""
        documents = self.train if part == "train" else self.held_out
        end = np.array([encoding.eot], dtype=np.uint16)
        pieces = [piece for document in documents for piece in (end, encoded(document, encoding))]
        return np.concatenate([np.array([], dtype=np.uint16), *pieces[1:]])

    def ids(self, part: Part, encoding: Tokenizer) -> Tensor:
        """:meth:`tokens` as torch takes them, (N,) int64 in memory: four times their size."""
        return torch.from_numpy(self.tokens(part, encoding).astype(np.int64))


def read_text(path: Path) -> Corpus:
    """A text file, all of which is held out; a raw split of WikiText as the hub's rows joined."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from error
    held_out = plain_text(text)
    return Corpus(path.name, (), (held_out,), _sha256(held_out.encode()))


@cache
def embedded() -> Corpus:
    """``pydoc_data.topics``, its last tenth held out."""
    from pydoc_data.topics import topics

    documents = [topics[name] for name in sorted(topics)]
    sha256 = _sha256(_join(documents).encode())
    left = sum(map(len, documents)) * (HELD_OUT - 1) // HELD_OUT
    train: list[str] = []
    while left >= len(documents[0]):
        train.append(documents.pop(0))
        left -= len(train[-1])
    cut = [documents[0][:left]] if left else []
    return Corpus("embedded", (*train, *cut), (documents[0][left:], *documents[1:]), sha256)


def wikitext_2() -> Corpus:
    """WikiText-2, raw, from the hub: the training split to train on, the test split held out."""
    from huggingface_hub import try_to_load_from_cache

    repository, folder = "Salesforce/wikitext", "wikitext-2-raw-v1"
    names = [f"{folder}/{split}-00000-of-00001.parquet" for split in ("train", "test")]
    if any(not isinstance(try_to_load_from_cache(repository, name, repo_type="dataset"), str) for name in names):
        hub.require(
            hub.HUGGING_FACE,
            "WikiText-2 (7 MB)",
            "run `kvgpt fetch wikitext-2` where there is network, or name a local copy: --kvgpt-corpus FILE",
        )
    import datasets  # heavy, and needed for this corpus only

    train, test = (datasets.load_dataset(repository, folder, split=split)["text"] for split in ("train", "test"))
    return Corpus("wikitext-2", (_join(train),), (_join(test),), _sha256(_join(test).encode()))


def plain_text(text: str) -> str:
    """``text``, or where it is a raw split of WikiText, its rows joined as everybody joins them."""
    return _join(wikitext_rows(text)) if is_wikitext(text) else text


def is_wikitext(text: str) -> bool:
    """Whether ``text`` is a raw split of WikiText: blank rows of a single space, and `` = headings = ``."""
    rows = text.split("\n", 64)[:64]
    return any(row.startswith(" = ") and row.endswith(" = ") for row in rows) and " " in rows and "" not in rows[:-1]


def wikitext_rows(text: str) -> list[str]:
    """A raw split as the rows of the hub's dataset: each line with its newline, a blank row as an empty string."""
    rows = text.split("\n")
    return ["" if row == " " else f"{row}\n" for row in (rows if rows[-1] else rows[:-1])]


def _join(rows: Sequence[str]) -> str:
    return "\n\n".join(rows)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
