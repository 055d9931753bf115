"""Tokens of a text, kept in the user's cache folder so that it is encoded once."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from kvgpt.corpora import cache_folder
from kvgpt.text.encodings import Bytes, Tokenizer

DIGEST = 32  # bytes of a sha256


def encoded(text: str, encoding: Tokenizer) -> np.ndarray:
    """Token ids (N,) uint16, kept in the user's cache folder under the hashes of the text and of the encoding.

    A file is the sha256 of the ids and the ids, little-endian: what is damaged is known for it, and made again.
    """
    if isinstance(encoding, Bytes):  # faster to encode than to look up
        return encoding.encode(text)
    data = text.encode()
    key = f"{hashlib.sha256(data).hexdigest()[:32]}-{encoding.fingerprint[:16]}"
    path = cache_folder() / "tokens" / f"{key}.u16"
    kept = _kept(path, most=len(data), vocab_size=encoding.vocab_size)
    if kept is None:
        kept = encoding.encode(text)
        _keep(path, kept)
    return kept


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
