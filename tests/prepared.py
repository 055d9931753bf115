"""Corpora that tests prepare, and what becomes of their files."""

from kvgpt import text
from kvgpt.text import preparing, sources

BYTES = text.tokenizer(257)
DOCUMENTS = tuple(f"Document {n}: {'word ' * (n % 7)}é." for n in range(400))


def quietly(line):
    pass


def source(documents, **known):
    return sources.Source("made up", iter(documents), **{"size": 100, **known})


def made(directory, documents=DOCUMENTS, fraction=0.1, **how):
    return preparing.prepare("mine", directory, source(documents), BYTES, fraction, **{"report": quietly, **how})


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted(after):
    yield from DOCUMENTS[:after]
    raise KeyboardInterrupt


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0x70
    path.write_bytes(data)
