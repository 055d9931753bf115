"""Documents become tokens on disk, streamed, in memory that does not grow with them: a whole corpus, or none.

Everything is written into a directory beside the one that is asked for, which takes its name at the end. What fails,
Ctrl-C among it, removes it; what a kill leaves behind is cleared away by the next try, which starts from the beginning.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kvgpt import plain
from kvgpt.text import tokens
from kvgpt.text.dividing import FRACTION, Division
from kvgpt.text.encodings import Tokenizer
from kvgpt.text.sources import Source

BATCH = 2**24  # characters encoded at a time, by all cores
MOST = 1024  # documents of a batch
EVERY = 10.0  # seconds between two lines of progress
BYTES_A_TOKEN = {"bytes": 1.0, "gpt2": 4.0}  # of text, at least, in English: OpenWebText has 4.4
SPARE = 64 * 2**20  # bytes that are left free on the disk


def prepare(
    name: str,
    directory: Path,
    source: Source,
    encoding: Tokenizer,
    fraction: float = FRACTION,
    report: Callable[[str], None] = print,
    opened: Callable[[Path], BinaryIO] = lambda path: path.open("wb"),
) -> tokens.Prepared:
    """The corpus of a source, written to ``directory``, which it replaces; OSError or ValueError leave what was there.

    ``opened`` opens the files to write.
    """
    if encoding.vocab_size > 2**16:
        raise ValueError(f"the encoding {encoding.name!r} has {encoding.vocab_size} tokens: ids are kept in 16 bits")
    if not 0 < fraction < 1:
        raise ValueError(f"held out {fraction}: a fraction of the documents between 0 and 1 is needed")
    directory.parent.mkdir(parents=True, exist_ok=True)
    _check_space(name, directory, source, encoding)
    with _appearing_whole(name, directory, report) as partial:
        division = Division(source.documents, fraction)
        try:
            with ExitStack() as files:
                to_write = {part: files.enter_context(opened(partial / file)) for part, file in tokens.FILES.items()}
                writers = {part: _Writer(file, encoding) for part, file in to_write.items()}
                _write(name, division, encoding, writers, report)
                parts = {part: writer.finish() for part, writer in writers.items()}
        except OSError as error:
            raise _explained(error, name, directory) from error
        _check_whole(name, source, division, parts)
        described: dict[str, Any] = {"name": name, "source": source.described, "rule": division.rule}
        described["sha256"] = division.fingerprint.hexdigest()
        described["encoding"] = {key: getattr(encoding, key) for key in tokens.ENCODING_KEYS}
        tokens.describe(partial, {**described, "parts": parts})
        tokens.read(partial)
    return tokens.read(directory)


class _Writer:
    """Ids appended to a file, and what there is to say of them."""

    def __init__(self, file: BinaryIO, encoding: Tokenizer) -> None:
        self.file, self.encoding = file, encoding
        self.documents = self.tokens = self.largest = 0
        self.sha256 = hashlib.sha256()

    def append(self, ids: np.ndarray) -> None:
        """Write one document's ids (N,), after the end of the one before it."""
        if ids.size and int(ids.max()) >= self.encoding.vocab_size:
            raise ValueError(
                f"the encoding {self.encoding.name!r} gave id {int(ids.max())}: its vocabulary ends below "
                f"{self.encoding.vocab_size}"
            )
        end = [self.encoding.eot] if self.documents else []
        data = np.concatenate([np.array(end, dtype=tokens.ITEM), ids.astype(tokens.ITEM)])
        self.file.write(data.tobytes())
        self.sha256.update(data.tobytes())
        self.documents += 1
        self.tokens += len(data)
        self.largest = max(self.largest, int(data.max(initial=0)))

    def finish(self) -> dict[str, Any]:
        """Everything on the disk, and what ``corpus.json`` says of it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        counts = {name: getattr(self, name) for name in ("documents", "tokens", "largest")}
        return {**counts, "sha256": self.sha256.hexdigest()}


def _write(
    name: str, division: Division, encoding: Tokenizer, writers: Mapping[str, _Writer], report: Callable[[str], None]
) -> None:
    """Encode batch after batch, its documents side by side, and write them in their order."""
    begun = said = time.monotonic()
    characters = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in _batches(division):
            for (part, document), ids in zip(batch, pool.map(encoding.encode, [one for _, one in batch]), strict=True):
                writers[part].append(ids)
                characters += len(document)
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                report(_progress(name, division, writers, characters, said - begun))
    report(_progress(name, division, writers, characters, time.monotonic() - begun))


def _batches(documents: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    batch, size = list[tuple[str, str]](), 0
    for part, document in documents:
        batch.append((part, document))
        size += len(document)
        if size >= BATCH or len(batch) == MOST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _progress(name: str, division: Division, writers: Mapping[str, _Writer], characters: int, seconds: float) -> str:
    written = sum(writer.tokens for writer in writers.values())
    return (
        f"{name}: documents: {division.documents:,}, tokens: {written:,}, text: {plain.quantity(characters, 'B')}, "
        f"{seconds:.0f} s"
    )


def _check_space(name: str, directory: Path, source: Source, encoding: Tokenizer) -> None:
    """OSError where the tokens of all this text cannot fit the disk."""
    need = int(tokens.ITEM.itemsize * source.size / BYTES_A_TOKEN.get(encoding.name, 1.0)) + SPARE
    free = shutil.disk_usage(directory.parent).free
    if free < need:
        raise OSError(
            f"{name}: about {plain.quantity(need, 'B')} are needed and {directory.parent} has "
            f"{plain.quantity(free, 'B')} free: make room, or name another disk with --out or XDG_CACHE_HOME"
        )


def _check_whole(name: str, source: Source, division: Division, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """ValueError where documents are missing, or a part has none."""
    if division.documents < source.least:
        raise ValueError(
            f"{name}: the source ended after {division.documents:,} documents of {source.least:,}: nothing is kept"
        )
    for part, entry in parts.items():
        if not entry["tokens"]:
            raise ValueError(
                f"{name}: nothing is left for {part} (documents: {division.documents}): more text is needed"
                + (f", or another --held-out than {division.fraction}" if division.documents > 1 else "")
            )


def _explained(error: OSError, name: str, directory: Path) -> OSError:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return OSError(
        f"{name}: the disk of {directory.parent} is full: nothing of it is kept; make room, or name another disk with "
        "--out or XDG_CACHE_HOME"
    )


@contextmanager
def _appearing_whole(name: str, directory: Path, report: Callable[[str], None]) -> Iterator[Path]:
    """A directory to write into, which becomes ``directory`` if all goes well, and else is gone."""
    partial, old, locked = (directory.with_name(f".{directory.name}.{kind}") for kind in ("partial", "old", "lock"))

    def clear() -> None:
        if old.exists() and not directory.exists():  # stopped between the two renames below
            old.replace(directory)
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)

    with locked.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(
                os.fstat(lock.fileno()), locked.stat()
            )  # and not one that was removed before it was locked
        except OSError:
            held = False
        if not held:
            raise ValueError(f"{name}: another process is preparing {directory}")
        if partial.exists():
            report(f"{name}: an earlier try was cut short: it starts again from the beginning")
        try:
            clear()
            partial.mkdir()
            yield partial
            if directory.exists():
                directory.replace(old)
            partial.replace(directory)
        finally:
            clear()
            locked.unlink(missing_ok=True)
