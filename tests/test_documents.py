"""Where the documents of a corpus come from: the hub, a stream at a time, or a file of one's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepared import DOCUMENTS

from kvgpt.text import sources


class Hub:
    """What stands in for ``datasets.load_dataset``: rows that are streamed, and what was asked for."""

    def __init__(self, rows, breaks=None):
        self.rows, self.breaks, self.asked = rows, breaks, None

    def __call__(self, path, **asked):
        self.asked = (path, asked)
        yield from ({"text": row} for row in self.rows)
        if self.breaks:
            raise self.breaks


def test_openwebtext_is_streamed_from_the_hubs_parquet(tmp_path):
    hub = Hub(DOCUMENTS)
    found = sources.online("openwebtext", hub)
    assert (found.size, found.least) == (40_000_000_000, 8_013_769)
    assert tuple(found.documents) == DOCUMENTS
    assert hub.asked == ("parquet", {"data_files": sources.OPENWEBTEXT, "split": "train", "streaming": True})


def test_a_stream_that_breaks_is_said_with_how_far_it_came():
    found = sources.online("openwebtext", Hub(DOCUMENTS, ConnectionResetError("peer")))
    with pytest.raises(ValueError, match=r"openwebtext: hf://.*: ConnectionResetError after 400 documents: peer"):
        list(found.documents)


def test_shakespeare_that_is_another_text_is_refused():
    with pytest.raises(ValueError, match="the text is not the one with the sha256 86c4e6aa"):
        list(sources.online("shakespeare", Hub(["To be, or not"])).documents)


def test_datasets_gives_a_text_whole_when_it_is_asked_as_shakespeare_is(tmp_path):
    import datasets

    (tmp_path / "play.txt").write_text("One line.\n\nAnd another.\n")
    asked = {**sources.ONLINE["shakespeare"].arguments, "data_files": str(tmp_path / "play.txt")}
    rows = datasets.load_dataset(**asked, split="train", streaming=True)
    assert [row["text"] for row in rows] == ["One line.\n\nAnd another.\n"]


@given(
    documents=st.lists(st.text("ab<|e\né", max_size=8), min_size=1, max_size=6),
    chunk=st.integers(1, 30),
)
def test_a_text_file_is_cut_at_its_separators_wherever_chunks_end(documents, chunk, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "books.txt"
    path.write_bytes(sources.SEPARATOR.join(documents).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK", chunk)
        assert list(sources.local(path).documents) == sources.SEPARATOR.join(documents).split(sources.SEPARATOR)


def test_json_lines_are_read_line_by_line(tmp_path):
    path = tmp_path / "books.jsonl"
    path.write_text('{"text": "one\\n"}\n\n{"text": "two é", "url": "x"}\n')
    found = sources.local(path)
    assert list(found.documents) == ["one\n", "two é"] and found.size == path.stat().st_size


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("a.jsonl", b'{"text": "one"}\n["two"]\n', r"a\.jsonl:2: not a document: expected an object"),
        ("a.jsonl", b'{"title": "one"}\n', r"a\.jsonl:1: not a document: no 'text' that is a string"),
        ("a.jsonl", b'{"text": "caf\xe9"}\n', r"a\.jsonl:1: not a document"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', r"a\.jsonl:1: not a document: 'utf-8' codec can't encode"),
        ("a.jsonl", b'{"text": "' + b"x" * 300 + b'"}\n', r"a\.jsonl:1: a document of more than 256 bytes"),
        ("a.txt", b"caf\xe9 au lait", r"a\.txt: not UTF-8 text, after byte 0"),
        ("a.txt", b"caf\xc3", r"a\.txt: not UTF-8 text, at its end"),
        ("a.txt", b"x" * 300, r"a\.txt: a document of more than 256 characters: put <\|endoftext\|> between"),
        ("a.bin", None, r"a\.bin: no such file"),
    ],
)
def test_a_file_that_holds_no_documents_is_named(name, written, message, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_DOCUMENT", 256)
    if written is not None:
        (tmp_path / name).write_bytes(written)
    with pytest.raises(ValueError, match=message):
        list(sources.local(tmp_path / name).documents)
