"""Prepared corpora: the tokens of the text they were made of, on disk whole or not at all, and checked when opened."""

import errno
import json
import shutil
import tracemalloc

import damage
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepared import BYTES, DOCUMENTS, everything, flip, interrupted, made, quietly, source

from kvgpt import corpora, text
from kvgpt.text import dividing, encodings, preparing, sources, tokens


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kvgpt" / "corpora"


@given(
    documents=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=12), fraction=st.floats(0.2, 0.8)
)
def test_tokens_on_disk_are_those_of_the_documents(documents, fraction, tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpora") / "mine"
    division = dividing.Division(documents, fraction)
    sides = list(division)
    parts = {part: tuple(one for side, one in sides if side == part) for part in dividing.PARTS}
    expected = text.Corpus("mine", parts["train"], parts["held_out"], "")
    if not all("".join(parts[part]) for part in dividing.PARTS):
        with pytest.raises(ValueError, match="nothing is left for"):
            made(directory, documents, fraction)
        assert everything(directory.parent) == {}
        return
    found = made(directory, documents, fraction)
    for part in dividing.PARTS:
        assert np.array_equal(found.tokens(part, BYTES), expected.tokens(part, BYTES))
        assert found.ids(part, BYTES).tolist() == expected.ids(part, BYTES).tolist()
    assert found.sha256 == division.fingerprint.hexdigest()
    found.verify()


def test_a_document_falls_on_the_same_side_wherever_it_comes():
    sides = {document: part for part, document in dividing.Division(DOCUMENTS, 0.25)}
    again = [(document, part) for part, document in dividing.Division([*reversed(DOCUMENTS), *DOCUMENTS], 0.25)]
    assert all(sides[document] == part for document, part in again) and len(again) == 800
    assert 60 <= sum(part == "held_out" for part in sides.values()) <= 140, "about a quarter"
    assert [dividing.side(b"a document", fraction) for fraction in (0.5, 0.51)] == ["train", "held_out"]


def test_one_document_holds_out_its_last_tenth_as_a_divided_file_does(tmp_path):
    (tmp_path / "play.txt").write_text("0123456789" * 30)
    whole = text.corpus(str(tmp_path / "play.txt"))
    assert whole.train == () and not whole.trains and whole.held_out == ("0123456789" * 30,)
    divided = whole.divided()
    assert divided.train == ("0123456789" * 27,) and divided.held_out == ("0123456789" * 3,)
    assert divided.sha256 != whole.sha256 and divided.divided() is divided
    prepared = preparing.prepare("play", tmp_path / "play", sources.local(tmp_path / "play.txt"), BYTES, report=quietly)
    assert prepared.sha256 == divided.sha256 and prepared.divided() is prepared
    assert (prepared.parts["train"]["tokens"], prepared.parts["held_out"]["tokens"]) == (270, 30)
    assert "last tenth" in prepared.rule


def test_corpora_are_found_by_name_and_by_path(cache, tmp_path):
    made(cache / "mine"), made(tmp_path / "elsewhere")
    assert text.corpus("mine") == text.corpus(str(cache / "mine"))
    assert text.corpus(str(tmp_path / "elsewhere")).sha256 == text.corpus("mine").sha256
    assert corpora.there("mine") and corpora.there(str(tmp_path / "elsewhere")) and corpora.there("openwebtext")
    assert not corpora.there("nobody's") and not corpora.there("x" * 300) and not corpora.there("../mine")
    with pytest.raises(ValueError, match="'openwebtext' is not on this machine: run `kvgpt fetch openwebtext`"):
        text.corpus("openwebtext")
    with pytest.raises(ValueError, match="no corpus 'nowhere': known: embedded, wikitext-2, openwebtext"):
        text.corpus("nowhere")


def test_tokens_of_another_encoding_are_refused(tmp_path):
    class Others(encodings.Bytes):
        name, fingerprint = "others", "others-1"

    with pytest.raises(ValueError, match="tokens of the encoding 'bytes', and the model's is 'others'"):
        made(tmp_path / "mine").tokens("train", Others())


@pytest.mark.parametrize(
    ("documents", "how", "message"),
    [
        ([], {}, r"nothing is left for train \(documents: 0\): more text is needed$"),
        (["", ""], {}, r"nothing is left for train \(documents: 0\)"),
        (["a"], {}, r"nothing is left for train \(documents: 1\): more text is needed$"),
        (
            ["a", "b"],
            {"fraction": 1e-9},
            r"for held_out \(documents: 2\): more text is needed, or another --held-out than 1e-09",
        ),
        (DOCUMENTS, {"fraction": 1.0}, "held out 1.0: a fraction of the documents between 0 and 1"),
    ],
)
def test_a_corpus_with_nothing_in_a_part_is_refused(documents, how, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        made(tmp_path / "corpora" / "mine", documents, **how)
    assert everything(tmp_path) == {}


class Wild(encodings.Bytes):
    """An encoding that gives an id which it does not have."""

    def encode(self, written):
        return np.append(super().encode(written), 257).astype(np.uint16)


def test_ids_outside_the_vocabulary_are_never_written(tmp_path):
    with pytest.raises(ValueError, match="'bytes' gave id 257: its vocabulary ends below 257"):
        preparing.prepare("mine", tmp_path / "mine", source(DOCUMENTS), Wild(), report=quietly)
    assert everything(tmp_path) == {}

    class Wide(encodings.Bytes):
        name, vocab_size = "wide", 2**16 + 1

    with pytest.raises(ValueError, match="'wide' has 65537 tokens: ids are kept in 16 bits"):
        preparing.prepare("mine", tmp_path / "mine", source(DOCUMENTS), Wide(), report=quietly)


class Full:
    """A file on a disk that has room for ``room`` bytes."""

    def __init__(self, path, room):
        self.file, self.room = path.open("wb", buffering=0), room

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()

    def fileno(self):
        return self.file.fileno()


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("what", ["full", "full at once", "interrupted", "broken off", "no text"])
def test_what_fails_leaves_what_was_there(what, before, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "MOST", 16)  # documents encoded before the next are asked for
    directory = tmp_path / "mine"
    if before:
        made(directory, DOCUMENTS[:100])
    kept = everything(tmp_path)
    if what.startswith("full"):
        room = 3000 if what == "full" else 0
        with pytest.raises(OSError, match=r"^mine: the disk of .* is full: nothing of it is kept; make room"):
            made(directory, opened=lambda path: Full(path, room))
    elif what == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            made(directory, interrupted(200))
    elif what == "broken off":
        with pytest.raises(ValueError, match="the source ended after 400 documents of 401: nothing is kept"):
            preparing.prepare("mine", directory, source(DOCUMENTS, least=401), BYTES, 0.1, quietly)
    else:
        with pytest.raises(ValueError, match="nothing is left"):
            made(directory, [])
    assert everything(tmp_path) == kept
    assert corpora.is_prepared(directory) == before


def unread():
    raise AssertionError("a document was asked for")
    yield


def test_a_disk_without_room_is_found_before_the_first_document(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12, 10**9))
    with pytest.raises(OSError, match=r"about 20\.07 GB are needed and .* has 1 GB free: make room"):
        preparing.prepare("mine", tmp_path / "mine", source(unread(), size=10**10), BYTES, report=quietly)
    assert everything(tmp_path) == {}


def test_an_earlier_try_that_was_killed_is_cleared_away_and_said(tmp_path):
    (tmp_path / ".mine.partial").mkdir()
    (tmp_path / ".mine.partial" / "train.bin").write_bytes(b"half")
    said = []
    found = made(tmp_path / "mine", report=said.append)
    assert said[0] == "mine: an earlier try was cut short: it starts again from the beginning"
    assert said[1].startswith("mine: documents: 400, ") and found.trains
    assert sorted(everything(tmp_path)) == ["corpus.json", "train.bin", "validation.bin"]


def test_a_corpus_that_a_kill_took_between_two_names_comes_back(tmp_path):
    made(tmp_path / "mine")
    (tmp_path / "mine").replace(tmp_path / ".mine.old")
    with pytest.raises(ValueError, match="nothing is left"):
        made(tmp_path / "mine", [])
    assert text.corpus(str(tmp_path / "mine")).trains


@pytest.mark.parametrize("moves", [0, 1])
def test_ctrl_c_between_two_names_leaves_the_corpus_that_was_there(moves, tmp_path, monkeypatch):
    made(tmp_path / "mine", DOCUMENTS[:100])
    kept, move, left = everything(tmp_path), preparing.Path.replace, [moves]

    def interrupted_move(path, target):
        if path.is_dir() and path.name in ("mine", ".mine.partial"):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return move(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(preparing.Path, "replace", interrupted_move)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "mine")
    assert everything(tmp_path) == kept and [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_two_that_prepare_the_same_do_not_meet(tmp_path):
    def meanwhile():
        yield "a first document"
        with pytest.raises(ValueError, match="mine: another process is preparing"):
            made(tmp_path / "mine")
        yield from DOCUMENTS

    assert made(tmp_path / "mine", meanwhile()).parts["train"]["documents"] > 300


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda there: (there / "train.bin").write_bytes(b"12"), r"train\.bin: 2 bytes, corpus\.json has"),
        (lambda there: (there / "validation.bin").unlink(), r"validation\.bin: 0 bytes, corpus\.json has"),
        (
            lambda there: flip(there / "train.bin", 501),
            r"train\.bin: id 2\d{4} near token 0, corpus\.json has none above",
        ),
        (lambda there: (there / "corpus.json").write_text("{}"), "format None: this version reads format 1"),
        (lambda there: _set(there, largest=300), "up to id 300: at least one is needed, below the vocabulary's 257"),
        (lambda there: _set(there, tokens=0), "0 tokens up to id"),
        (lambda there: _set(there, tokens=True), "tokens=True: expected int"),
        (lambda there: _set(there, documents=None), "expected documents, tokens, largest, sha256"),
    ],
)
def test_a_prepared_corpus_that_is_damaged_is_refused_when_it_is_opened(spoil, message, tmp_path):
    made(tmp_path / "mine")
    spoil(tmp_path / "mine")
    with pytest.raises(ValueError, match=message) as caught:
        text.corpus(str(tmp_path / "mine")) if "format" not in message else tokens.read(tmp_path / "mine")
    assert str(tmp_path / "mine") in str(caught.value)


def _set(there, **fields):
    made = json.loads((there / "corpus.json").read_text())
    made["parts"]["train"] |= fields
    made["parts"]["train"] = {name: value for name, value in made["parts"]["train"].items() if value is not None}
    (there / "corpus.json").write_text(json.dumps(made))


def test_a_flipped_bit_that_leaves_an_id_possible_is_found_by_reading_everything(tmp_path):
    found = made(tmp_path / "mine")
    _flip_low = bytearray((tmp_path / "mine" / "train.bin").read_bytes())
    _flip_low[0] ^= 1
    (tmp_path / "mine" / "train.bin").write_bytes(_flip_low)
    tokens.read(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"train\.bin: sha256 .*: prepare it again, `kvgpt fetch mine --overwrite`"):
        found.verify()


class Renamed(encodings.Bytes):
    def __init__(self, fingerprint):
        self.fingerprint = fingerprint


@given(data=st.data())
def test_a_description_of_anything_is_refused_or_read(data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("any") / "mine"
    made(directory, DOCUMENTS[:40])
    path = directory / "corpus.json"
    path.write_bytes(data.draw(damage.altered(json.loads(path.read_text())) | damage.damaged(path.read_bytes())))
    if not damage.refused(lambda: tokens.read(directory), directory):
        found = tokens.read(directory)
        encoding = Renamed(found.encoding["fingerprint"])
        for part, entry in found.parts.items():
            ids = found.tokens(part, encoding)
            assert len(ids) == entry["tokens"] >= 1 and ids.max() <= entry["largest"] < found.encoding["vocab_size"]


def test_a_large_corpus_is_opened_and_sampled_in_little_memory(tmp_path):
    directory = tmp_path / "mine"
    made(directory)
    with (directory / "train.bin").open("r+b") as file:
        file.truncate(2 * 10**9)  # a hole: it takes no room
    _set(directory, tokens=10**9)
    tracemalloc.start()
    ids = text.corpus(str(directory)).tokens("train", BYTES)
    batch = ids[np.array([[5], [999_999_000]]) + np.arange(64)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(ids) == 10**9 and batch.shape == (2, 64) and peak < 2 * 10**6


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "BATCH", 2**16)
    peaks = []
    for count in (200, 2000):
        tracemalloc.start()
        preparing.prepare(
            "mine", tmp_path / "mine", source(f"{n} {'x' * 4096}" for n in range(count)), BYTES, 0.1, quietly
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks
