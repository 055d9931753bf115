"""``kvgpt fetch`` of corpora: what it prepares, what it says, and what it refuses."""

import hashlib
import json
from contextlib import suppress

import numpy as np
import pytest
from prepared import BYTES, DOCUMENTS, everything, flip, interrupted, quietly, source

from kvgpt import cli, text
from kvgpt.text import dividing, encodings, preparing, sources


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kvgpt" / "corpora"


def fetched(capsys, *arguments):
    code = cli.main(["fetch", *map(str, arguments)])
    return code, "".join(capsys.readouterr())


def test_fetch_prepares_a_file_and_checks_what_is_there(capsys, cache, tmp_path):
    (tmp_path / "play.txt").write_text("0123456789" * 30)
    code, said = fetched(capsys, "shakespeare-char", "--from", tmp_path / "play.txt")
    assert code == 0 and f"270 tokens to train on, 30 held out, of bytes, in {cache / 'shakespeare-char'}" in said
    assert fetched(capsys, "shakespeare-char")[0] == 0
    code, said = fetched(capsys, "shakespeare-char", "--from", tmp_path / "play.txt")
    assert code == 2 and "is prepared already: add --overwrite" in said
    flip(cache / "shakespeare-char" / "train.bin", 0)
    code, said = fetched(capsys, "shakespeare-char")
    assert code == 2 and "prepare it again" in said
    (tmp_path / "play.txt").write_text("9876543210" * 20)
    code, said = fetched(capsys, "shakespeare-char", "--from", tmp_path / "play.txt", "--overwrite")
    assert code == 0 and "180 tokens to train on" in said
    assert text.corpus("shakespeare-char").tokens("train", BYTES)[:3].tolist() == [57, 56, 55]


def test_fetch_prepares_a_text_under_a_name_of_ones_own(capsys, cache, tmp_path):
    (tmp_path / "books.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in DOCUMENTS))
    arguments = ("my-books", "--from", tmp_path / "books.jsonl", "--encoding", "bytes", "--held-out", 0.1)
    code, said = fetched(capsys, *arguments)
    assert code == 0 and f"in {cache / 'my-books'}" in said
    assert text.corpus("my-books").source == "books.jsonl" and "below 0.1 of all" in text.corpus("my-books").rule
    assert fetched(capsys, *arguments, "--out", tmp_path / "here")[0] == 0
    assert text.corpus(str(tmp_path / "here")).sha256 == text.corpus("my-books").sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["openwebtext"], "name a local copy: `kvgpt fetch openwebtext --from FILE`"),
        (["shakespeare-char"], "raw.githubusercontent.com cannot be reached"),
        (["shakespeare-char", "--from", "{file}", "--encoding", "gpt2"], "is of the encoding 'bytes'"),
        (["a", "b", "--from", "{file}"], "--from is the text of one corpus, and 2 names were given"),
        (["gpt2", "--from", "{file}"], "'gpt2' is taken: give the text of {file} a name of its own"),
        (["../mine", "--from", "{file}"], "a corpus cannot be called '../mine'"),
        (["mine", "--from", "{file}", "--out", "{folder}"], "is there, and is no prepared corpus: name another --out"),
        (["mine", "--from", "{folder}/none.txt", "--encoding", "bytes"], "none.txt: no such file"),
    ],
)
def test_fetch_refuses_in_one_line_and_writes_nothing(capsys, cache, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr("kvgpt.hub.reachable", lambda host, port=443: False)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(encodings, "named", lambda name: BYTES)
    (tmp_path / "play.txt").write_text("0123456789" * 30)
    places = {"file": tmp_path / "play.txt", "folder": tmp_path}
    code, said = fetched(capsys, *[one.format(**places) for one in arguments])
    assert code == 2 and message.format(**places) in said and said.count("\n") == 1
    assert everything(tmp_path) == {"play.txt": b"0123456789" * 30}
    with suppress(FileNotFoundError):
        assert not list(cache.iterdir())


def test_ctrl_c_in_the_middle_leaves_no_corpus(capsys, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "local", lambda path: source(interrupted(50)))
    code, said = fetched(capsys, "shakespeare-char", "--from", tmp_path)
    assert code == 130 and said == "kvgpt fetch: interrupted\n" and everything(cache) == {}


def test_tiny_shakespeare_has_nanogpts_number_of_tokens(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_folder / "tiktoken-cache"))
    path = data_folder / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip(f"needs tiny Shakespeare as {path}")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sources.ONLINE["shakespeare"].sha256
    counts = {}
    for encoding in (text.GPT2(), BYTES):
        found = preparing.prepare(
            "shakespeare", tmp_path / encoding.name, sources.local(path), encoding, report=quietly
        )
        counts[encoding.name] = [found.parts[part]["tokens"] for part in dividing.PARTS]
    assert counts == {"gpt2": [301_966, 36_059], "bytes": [1_003_854, 111_540]}
    characters = found.tokens("train", BYTES)
    assert len(np.unique(characters)) == 65, "by byte is by character: nanoGPT's 65"
