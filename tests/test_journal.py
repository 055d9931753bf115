"""The journal: whole lines or none, read back as written, and never written over while nothing else holds its cases."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgpt import journal, record, recorded, strict_json

HEADER = journal.header({"rounds": 7, "lengths": (8, 16)}, {"kind": "cpu", "name": "a CPU", "torch": "2.9"}, "0.1")


def entry(name, data=(0.5, 1.0), **fields):
    return {"fullname": name, "stats": {"data": list(data)}, "extra_info": {}, **fields}


def with_record(name, variant, value, **workload):
    made = record.record(
        "latency", variant, variant, workload, {"total_latency": record.metric("total_latency", value)}
    )
    return entry(name, extra_info={"kvgpt": made})


@pytest.fixture
def written(tmp_path):
    """Write a journal of these entries beside ``out.json``, and return the path of the latter."""

    def write(*entries, name="out.json"):
        path = tmp_path / name
        writer = journal.start(path, HEADER)
        for one in entries:
            writer.append(one)
        writer.close()
        return path

    return write


class Full:
    """A file with room for ``room`` bytes, which writes what fits before it refuses, as a disk does."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        fits = bytes(data[: self.room - self.file.tell()])
        if not fits:
            raise OSError(28, "No space left on device")
        return self.file.write(fits)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_what_is_read_is_what_was_written(written):
    path = journal.beside(written(entry("a"), entry("b")))
    read = journal.read(path)
    assert path.name == "out.json.journal.jsonl"
    assert read.header == {**HEADER, "settings": {"rounds": 7, "lengths": [8, 16]}}
    assert list(read.entries.values()) == [entry("a"), entry("b")]
    assert read.repeated == () and read.nbytes == path.stat().st_size


@settings(max_examples=20)
@given(cut=st.integers(0, 2000))
def test_cut_anywhere_it_keeps_every_line_that_is_whole(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / "out.json"
    writer = journal.start(path, HEADER)
    for name in "abc":
        writer.append(entry(name))
    writer.close()
    whole = journal.beside(path).read_bytes()
    cut %= len(whole) + 1
    journal.beside(path).write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    read = journal.read(journal.beside(path))
    assert (0 if read is None else 1 + len(read.entries)) == lines
    writer, entries = journal.resume(path, HEADER)
    missing = [name for name in "abc" if name not in entries]
    for name in missing:
        writer.append(entry(name))
    writer.close()
    assert journal.beside(path).read_bytes() == whole, "gone on with, it ends as if nothing had happened"


def test_a_last_line_that_did_not_all_reach_the_disk_is_dropped_and_one_before_it_is_named(written):
    path = journal.beside(written(entry("a"), entry("b")))
    path.write_bytes(path.read_bytes() + b'{"fullname": "c", \0\0\0\0}\n')
    assert list(journal.read(path).entries) == ["a", "b"]
    path.write_bytes(path.read_bytes() + json.dumps(entry("d")).encode() + b"\n")
    with pytest.raises(ValueError, match=r"out\.json\.journal\.jsonl: line 4: .*: delete the line, or the file"):
        journal.read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"variant": "v1"}, "line 1: schema=None: expected int: no journal of kvgpt's"),
        ({**HEADER, "schema": 2}, "line 1: schema 2: this version reads schema 1"),
        ({**HEADER, "device": 3}, "line 1: device=3: expected dict"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path, line, message):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=message):
        journal.read(path)
    with pytest.raises(ValueError, match="no such file"):
        journal.read(tmp_path / "absent.jsonl")


def test_a_line_that_is_no_case_is_named(written):
    path = journal.beside(written(entry("a"), {"fullname": "b"}))
    with pytest.raises(ValueError, match="line 3: stats=None: expected dict"):
        journal.read(path)


def test_a_journal_too_large_to_be_one_is_not_read(tmp_path):
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(journal.LARGEST + 1)
    with pytest.raises(ValueError, match="bytes: the limit is"):
        journal.read(path)


def test_of_cases_that_are_there_twice_the_first_wins(written):
    read = journal.read(journal.beside(written(entry("a", [1.0]), entry("b"), entry("a", [2.0]))))
    assert read.entries["a"]["stats"]["data"] == [1.0] and read.repeated == ("a",)


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_line_that_does_not_fit_leaves_no_trace(written, room):
    path = journal.beside(written(entry("a")))
    before = path.read_bytes()
    writer = journal.open_writer(path, len(before))
    writer.file = Full(writer.file, len(before) + room)
    with pytest.raises(OSError, match="No space left"):
        writer.append(entry("b"))
    assert path.read_bytes() == before
    writer.file = writer.file.file
    writer.append(entry("c"))
    writer.close()
    assert list(journal.read(path).entries) == ["a", "c"]


def test_a_line_is_on_disk_when_append_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    writer = journal.start(tmp_path / "out.json", HEADER)
    writer.append(entry("a"))
    writer.close()
    assert synced[-1] == journal.beside(tmp_path / "out.json").stat().st_size and len(synced) == 2


def test_what_strict_json_lacks_is_written_as_text(tmp_path):
    path = tmp_path / "out.json"
    strict_json.write(path, {"timer": os.getpid, "of": json.JSONEncoder, 3: (float("nan"), float("inf"), path), "n": 1})
    assert strict_json.read(path, 1000, "anything") == {
        "timer": "getpid",
        "of": "JSONEncoder",
        "3": ["nan", "inf", str(path)],
        "n": 1,
    }
    with path.open() as before:
        strict_json.write(path, {"n": 1})
        assert "JSONEncoder" in before.read(), "another file takes the place of the one that was there"
    endless = {}
    endless["inner"] = endless
    with pytest.raises(RecursionError):
        strict_json.write(path, endless)
    assert strict_json.read(path, 1000, "anything")["n"] == 1, "what cannot be written leaves what was there"
    assert [left.name for left in tmp_path.iterdir()] == ["out.json"]


def test_a_new_run_replaces_what_the_results_file_holds_and_nothing_else(written):
    path = written(entry("a"), entry("b"))
    strict_json.write(path, {"benchmarks": [entry("a"), entry("b", [9.0])]})
    with pytest.raises(ValueError, match=r"out\.json lacks 1 cases that this journal holds: go on with --kvgpt-resume"):
        journal.start(path, HEADER)
    strict_json.write(path, {"benchmarks": [entry("b"), entry("a"), entry("c")]})
    journal.start(path, HEADER).close()
    assert journal.read(journal.beside(path)).entries == {}


def test_headers_are_compared_field_by_field():
    other = journal.header({"rounds": 5, "lengths": (8, 16), "peers": True}, {"kind": "cpu", "name": "b"}, "0.2")
    assert journal.differences(HEADER, other) == [
        'kvgpt was "0.1", is "0.2"',
        'torch was "2.9", is null',
        'device.name was "a CPU", is "b"',
        'device.torch was "2.9", is null',
        "settings.rounds was 7, is 5",
        "settings.peers was null, is true",
    ]
    assert journal.differences(HEADER, HEADER) == []


def test_a_journal_is_read_as_results(written):
    path = written(with_record("a", "v1", 0.5, new_tokens=8), entry("no record"))
    results = recorded.read(journal.beside(path))
    assert results.device["name"] == "a CPU"
    assert [(case.name, case.value("total_latency")) for case in results.cases] == [("a", 0.5)]
    journal.beside(path).write_bytes(b"")
    with pytest.raises(ValueError, match="an empty journal: its run ended before a case did"):
        recorded.read(journal.beside(path))


def test_merged_results_keep_the_first_of_each_case_and_list_the_others(written):
    one = written(with_record("a", "v1", 0.5, new_tokens=8), with_record("b", "v2", 0.6, new_tokens=8))
    two = written(with_record("c", "v1", 0.7, new_tokens=8), with_record("d", "v1", 0.8, new_tokens=16), name="b.json")
    results = [recorded.read(journal.beside(path)) for path in (one, two)]
    merged = recorded.merge(results)
    assert [case.name for case in merged.cases] == ["a", "b", "d"]
    assert [case.name for case in merged.repeated] == ["c"]
    assert merged.device == results[0].device and recorded.merge(results[:1]).cases == results[0].cases
    with pytest.raises(ValueError, match="no results to merge"):
        recorded.merge([])


def test_results_of_devices_that_differ_are_not_merged(written, tmp_path):
    one = recorded.read(journal.beside(written(with_record("a", "v1", 0.5))))
    path = tmp_path / "other.json"
    device = {**HEADER["device"], "name": "another CPU"}
    data = {"benchmarks": [with_record("a", "v1", 0.5)], "machine_info": {"kvgpt": {"device": device}}}
    strict_json.write(path, data)
    with pytest.raises(ValueError, match=r"out\.json.* ran on a CPU, .*other\.json ran on another CPU: name was"):
        recorded.merge([one, recorded.read(path)])
