"""Encodings: UTF-8 bytes, and GPT-2's byte pairs. A model's vocabulary says which is its own."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from kvgpt import hub

GPT2_FILES = {  # what tiktoken keeps for the gpt2 encoding, named by the sha1 of where it came from
    "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe": "vocab.bpe",
    "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/encoder.json": "encoder.json",
}


class Tokenizer(Protocol):
    """Text to token ids and back. ``fingerprint`` changes whenever the ids of some text would."""

    name: str
    vocab_size: int
    eot: int

    @property
    def fingerprint(self) -> str: ...
    def encode(self, text: str) -> np.ndarray: ...
    def decode_bytes(self, ids: Sequence[int]) -> bytes: ...


class Bytes:
    """UTF-8 bytes, and one token more for the end of a text. Of ASCII, a byte is a character."""

    name, vocab_size, eot = "bytes", 257, 256
    fingerprint = "bytes-1"

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint16)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        return bytes(token for token in ids if token != self.eot)


class GPT2:
    """The byte-pair encoding of GPT-2, through tiktoken."""

    name, vocab_size, eot = "gpt2", 50257, 50256

    def __init__(self) -> None:
        folder = tiktoken_folder()
        missing = [name for url, name in GPT2_FILES.items() if not (folder / _sha1(url)).is_file()]
        if missing:
            hub.require(
                "openaipublic.blob.core.windows.net",
                f"the gpt2 encoding ({' and '.join(missing)}, 1.5 MB)",
                f"run `kvgpt fetch gpt2-encoding` where there is network, and copy {folder} or set TIKTOKEN_CACHE_DIR",
            )
        import tiktoken  # heavy, and needed for this encoding only

        try:
            self._encoding = tiktoken.get_encoding("gpt2")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"the gpt2 encoding in {folder} cannot be read: {error}; remove it and fetch it again"
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        tokens = (self._encoding.decode_single_token_bytes(token) for token in range(self.vocab_size))
        return hashlib.sha256(b"".join(len(token).to_bytes(2, "big") + token for token in tokens)).hexdigest()

    def encode(self, text: str) -> np.ndarray:
        return np.array(self._encoding.encode_ordinary(text), dtype=np.uint16)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        return self._encoding.decode_bytes([token for token in ids if token != self.eot])


KINDS: dict[int, type[Bytes] | type[GPT2]] = {kind.vocab_size: kind for kind in (Bytes, GPT2)}


@cache
def tokenizer(vocab_size: int) -> Tokenizer:
    """The encoding of a model with this vocabulary."""
    if vocab_size not in KINDS:
        known = ", ".join(f"{size} ({kind.name})" for size, kind in KINDS.items())
        raise ValueError(f"no encoding has a vocabulary of {vocab_size} tokens: known: {known}")
    return KINDS[vocab_size]()


def named(name: str) -> Tokenizer:
    """The encoding of this name, ``bytes`` or ``gpt2``."""
    sizes = {kind.name: size for size, kind in KINDS.items()}
    if name not in sizes:
        raise ValueError(f"unknown encoding {name!r}: known: {', '.join(sizes)}")
    return tokenizer(sizes[name])


def tiktoken_folder() -> Path:
    """Where tiktoken looks for encodings that it has fetched before."""
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if name in os.environ:
            return Path(os.environ[name])
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
