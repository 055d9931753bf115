"""Where the documents of a corpus come from: files, streamed, or the network through ``datasets``, streamed too."""

import codecs
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvgpt import hub, strict_json
from kvgpt.text.texts import plain_text

SEPARATOR = "<|endoftext|>"  # between the documents of a text file, as GPT-2's own data had it
LARGEST_DOCUMENT = 2**30  # bytes: one is held in memory whole
CHUNK = 2**20

Load = Callable[..., Iterable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Source:
    """Documents to come, and what is known before: the ``size`` of the text in bytes, and the ``least`` documents."""

    described: str
    documents: Iterator[str]
    size: int
    least: int = 0


@dataclass(frozen=True)
class Online:
    """A corpus on the network, as ``datasets.load_dataset`` takes it."""

    host: str
    what: str
    url: str
    arguments: Mapping[str, Any]
    encoding: str
    size: int
    documents: int
    sha256: str | None = None  # of the one document


# The hub's own Parquet of it: `datasets` no longer runs the script that the repository itself holds.
OPENWEBTEXT = "hf://datasets/Skylion007/openwebtext@refs/convert/parquet/plain_text/train/*.parquet"
TINY_SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


def _shakespeare(encoding: str) -> Online:
    return Online(
        "raw.githubusercontent.com",
        "tiny Shakespeare (1.1 MB)",
        TINY_SHAKESPEARE,
        {"path": "text", "data_files": TINY_SHAKESPEARE, "sample_by": "document"},
        encoding,
        size=1_115_394,
        documents=1,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )


ONLINE = {
    "openwebtext": Online(
        hub.HUGGING_FACE,
        "OpenWebText (24 GB to stream, 18 GB of tokens to keep)",
        OPENWEBTEXT,
        {"path": "parquet", "data_files": OPENWEBTEXT},
        "gpt2",
        size=40_000_000_000,
        documents=8_013_769,
    ),
    "shakespeare": _shakespeare("gpt2"),
    "shakespeare-char": _shakespeare("bytes"),
}


def online(name: str, load: Load | None = None) -> Source:
    """The documents of a corpus of :data:`ONLINE`; ``load`` is ``datasets.load_dataset`` or stands in for it."""
    one = ONLINE[name]
    if load is None:
        hub.require(one.host, one.what, f"name a local copy: `kvgpt fetch {name} --from FILE`")
        import datasets  # heavy, and needed for this alone

        load = datasets.load_dataset
    return Source(one.url, _streamed(name, one, load), one.size, one.documents)


def local(path: Path) -> Source:
    """The documents of a file: ``*.jsonl``, an object with its ``text`` a line, or of any other name, text, whole or
    with :data:`SEPARATOR` between its documents.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    documents = _lines(path) if path.suffix == ".jsonl" else _separated(path)
    return Source(path.name, documents, path.stat().st_size)


def _streamed(name: str, one: Online, load: Load) -> Iterator[str]:
    count = 0
    try:
        for row in load(**one.arguments, split="train", streaming=True):
            document = row["text"]
            if one.sha256 is not None and hashlib.sha256(document.encode()).hexdigest() != one.sha256:
                raise ValueError(f"the text is not the one with the sha256 {one.sha256}")
            count += 1
            yield document
    except Exception as error:  # of a dozen kinds: of sockets, HTTP, Parquet and `datasets` itself
        raise ValueError(f"{name}: {one.url}: {type(error).__name__} after {count} documents: {error}") from error


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LARGEST_DOCUMENT + 1):
            number += 1
            if len(line) > LARGEST_DOCUMENT:
                raise ValueError(f"{path}:{number}: a document of more than {LARGEST_DOCUMENT} bytes: cut it up")
            if not line.strip():
                continue
            try:
                document = strict_json.parse(line).get("text")
                if not isinstance(document, str):
                    raise ValueError("no 'text' that is a string")
                document.encode()
            except ValueError as error:
                raise ValueError(f"{path}:{number}: not a document: {error}") from error
            yield document


def _separated(path: Path) -> Iterator[str]:
    """Documents as they come, each joined once: a separator may lie across two chunks."""
    decoder, pieces, size, overlap = codecs.getincrementaldecoder("utf-8")(), list[str](), 0, len(SEPARATOR) - 1
    carried = ""
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            try:
                read = decoder.decode(data)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}: not UTF-8 text, after byte {file.tell() - len(data)}: {error}") from error
            *whole, rest = (carried + read).split(SEPARATOR)
            for end in whole:
                yield plain_text("".join([*pieces, end]))
                pieces, size = [], 0
            pieces.append(rest[:-overlap])
            carried = rest[-overlap:]
            size += len(rest)
            if size > LARGEST_DOCUMENT:
                raise ValueError(
                    f"{path}: a document of more than {LARGEST_DOCUMENT} characters: put {SEPARATOR} between "
                    "documents, or write them as JSON lines, *.jsonl"
                )
    try:
        carried += decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text, at its end: {error}") from error
    yield plain_text("".join([*pieces, carried]))
