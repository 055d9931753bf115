"""Which text is trained on and which is held out: by a rule that is written down, and the same on every machine.

One document: its last tenth by characters is held out, as nanoGPT does with Shakespeare. Several: each is held out by a
hash of its own text, one in 2,000 as nanoGPT does with OpenWebText; there a shuffle of all of them chooses, which needs
all of them at once. Wherever a document comes again, it falls on the same side.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

HELD_OUT = 10  # one part in this many, at the end
FRACTION = 0.0005  # of documents; nanoGPT's
SEED = 2357  # nanoGPT's
PARTS = ("train", "held_out")


def last_tenth(text: str) -> dict[str, str]:
    """The parts of one document."""
    cut = len(text) * (HELD_OUT - 1) // HELD_OUT
    return {"train": text[:cut], "held_out": text[cut:]}


def side(document: bytes, fraction: float = FRACTION) -> str:
    """The part that a document among many falls into."""
    drawn = int.from_bytes(hashlib.sha256(SEED.to_bytes(8, "big") + document).digest()[:8], "big")
    return "held_out" if drawn < fraction * 2**64 else "train"


@dataclass
class Fingerprint:
    """The sha256 of a text that is divided: of each part's documents and their lengths, and then of both."""

    parts: dict[str, Any] = field(default_factory=lambda: {part: hashlib.sha256() for part in PARTS})

    def add(self, part: str, document: str) -> None:
        data = document.encode()
        self.parts[part].update(len(data).to_bytes(8, "big"))
        self.parts[part].update(data)

    def hexdigest(self) -> str:
        return hashlib.sha256(b"".join(self.parts[part].digest() for part in PARTS)).hexdigest()


@dataclass
class Division:
    """Iterates once over (part, text) of documents in their order, empty ones left out, and knows afterwards how many
    there were, and the fingerprint of what came out.
    """

    source: Iterable[str]
    fraction: float = FRACTION
    documents: int = 0
    fingerprint: Fingerprint = field(default_factory=Fingerprint)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for part, document in self._sides():
            self.fingerprint.add(part, document)
            yield part, document

    @property
    def rule(self) -> str:
        """In words."""
        if self.documents == 1:
            return "one document: the last tenth of its characters is held out"
        return f"a document is held out where the sha256 of {SEED} and its text is below {self.fraction} of all"

    def _sides(self) -> Iterator[tuple[str, str]]:
        written = (document for document in self.source if document)
        first = list(islice(written, 2))
        self.documents = len(first)
        if len(first) == 1:
            yield from last_tenth(first[0]).items()
            return
        for document in first:
            yield side(document.encode(), self.fraction), document
        for document in written:
            self.documents += 1
            yield side(document.encode(), self.fraction), document
