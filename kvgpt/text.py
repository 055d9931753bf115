"""Text and tokens: the corpora and the encodings, embedded, local or asked for by name.

The embedded corpus is the documentation of Python's language topics, which the standard library carries; it differs
between Python releases, so its sha256 goes into every record and figures over different texts are never compared.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kvgpt import hub
from kvgpt.config import GPTConfig

HELD_OUT = 10  # one part in this many, at the end
CALIBRATION_CONTEXTS = 8
DIGEST = 32  # bytes of a sha256
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
    """UTF-8 bytes, and one token more for the end of a text."""

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
        return _sha256(b"".join(len(token).to_bytes(2, "big") + token for token in tokens))

    def encode(self, text: str) -> np.ndarray:
        return np.array(self._encoding.encode_ordinary(text), dtype=np.uint16)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        return self._encoding.decode_bytes([token for token in ids if token != self.eot])


@cache
def tokenizer(vocab_size: int) -> Tokenizer:
    """The encoding of a model with this vocabulary."""
    kinds: dict[int, type[Bytes] | type[GPT2]] = {kind.vocab_size: kind for kind in (Bytes, GPT2)}
    if vocab_size not in kinds:
        known = ", ".join(f"{size} ({kind.name})" for size, kind in kinds.items())
        raise ValueError(f"no encoding has a vocabulary of {vocab_size} tokens: known: {known}")
    return kinds[vocab_size]()


@dataclass(frozen=True)
class Corpus:
    """Documents to train on, documents held out, and the sha256 that tells the text of this corpus from others."""

    name: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    sha256: str

    def ids(self, part: str, encoding: Tokenizer) -> Tensor:
        """Token ids (N,) int64 of ``train`` or ``held_out``, documents told apart by the end-of-text token."""
        documents: tuple[str, ...] = getattr(self, part)
        end = np.array([encoding.eot], dtype=np.uint16)
        pieces = [piece for document in documents for piece in (end, encoded(document, encoding))]
        ids = np.concatenate([np.array([], dtype=np.uint16), *pieces[1:]])
        return torch.from_numpy(ids.astype(np.int64))


def corpus(name: str) -> Corpus:
    """``embedded``, ``wikitext-2`` through ``datasets``, or the path of a text file, all of which is held out."""
    if name == "embedded":
        return embedded()
    if name == "wikitext-2":
        return wikitext_2()
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"no corpus {name!r}: known: embedded, wikitext-2, or the path of a text file")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from error
    held_out = _join(wikitext_rows(text)) if is_wikitext(text) else text
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


def is_wikitext(text: str) -> bool:
    """Whether ``text`` is a raw split of WikiText: blank rows of a single space, and `` = headings = ``."""
    rows = text.split("\n")[:64]
    return any(row.startswith(" = ") and row.endswith(" = ") for row in rows) and " " in rows and "" not in rows[:-1]


def wikitext_rows(text: str) -> list[str]:
    """A raw split as the rows of the hub's dataset: each line with its newline, a blank row as an empty string."""
    rows = text.split("\n")
    return ["" if row == " " else f"{row}\n" for row in (rows if rows[-1] else rows[:-1])]


def encoded(text: str, encoding: Tokenizer) -> np.ndarray:
    """Token ids (N,) uint16, kept in the user's cache folder under the hashes of the text and of the encoding.

    A file is the sha256 of the ids and the ids, little-endian: what is damaged is known for it, and made again.
    """
    if isinstance(encoding, Bytes):  # faster to encode than to look up
        return encoding.encode(text)
    data = text.encode()
    path = cache_folder() / "tokens" / f"{_sha256(data)[:32]}-{encoding.fingerprint[:16]}.u16"
    kept = _kept(path, most=len(data), vocab_size=encoding.vocab_size)
    if kept is None:
        kept = encoding.encode(text)
        _keep(path, kept)
    return kept


def cache_folder() -> Path:
    """Where kvgpt keeps what it can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvgpt"


def tiktoken_folder() -> Path:
    """Where tiktoken looks for encodings that it has fetched before."""
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if name in os.environ:
            return Path(os.environ[name])
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def calibration(config: GPTConfig, weights: str, corpus: Corpus | None = None) -> Tensor:
    """Ids (8, block_size) to fit an alignment on: the corpus's training part, or the embedded corpus's where it has
    none; seeded random ids for random weights.
    """
    shape = CALIBRATION_CONTEXTS, config.block_size
    if weights.startswith("random"):
        return torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(0))
    ids = (corpus if corpus and corpus.train else embedded()).ids("train", tokenizer(config.vocab_size))
    starts = torch.linspace(0, len(ids) - config.block_size, CALIBRATION_CONTEXTS).long()  # spread over all of it
    return torch.stack([ids[start : start + config.block_size] for start in starts.tolist()])


def _join(rows: Sequence[str]) -> str:
    return "\n\n".join(rows)


def _kept(path: Path, most: int, vocab_size: int) -> np.ndarray | None:
    """The at most ``most`` ids kept at ``path``, or None where it is not there or is no such thing."""
    try:
        if not path.is_file() or path.stat().st_size > DIGEST + 2 * most:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) % 2 or hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
        return None
    ids = np.frombuffer(data, dtype="<u2", offset=DIGEST).astype(np.uint16)
    return ids if ids.size and int(ids.max()) < vocab_size else None


def _keep(path: Path, ids: np.ndarray) -> None:
    """Write whole or not at all; a cache folder that cannot be written only costs the time to encode again."""
    data = ids.astype("<u2").tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(data).digest() + data)
        Path(file.name).replace(path)
    except OSError:
        return


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
