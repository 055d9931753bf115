"""Merging workers' results files: one file that pytest-benchmark compares, and nothing mixed, lost or made up in it."""

import json
import subprocess
import sys
from copy import deepcopy

import damage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from kvgpt import journal, record, recorded
from kvgpt.report import merging

GPU = {"kind": "cuda", "name": "an imagined GPU", "memory": 48_000_000_000, "driver": "580.1"}


def entry(variant, new_tokens, seconds=0.5, benchmark="latency", **workload):
    """A case as pytest-benchmark and the recorder write it."""
    fields = {"model": "nano", "batch_size": 1, "new_tokens": new_tokens, **workload}
    figures = {"total_latency": record.metric("total_latency", seconds, samples=[seconds])}
    made = record.record(benchmark, variant, variant, fields, figures)
    return {**plain(named(variant, new_tokens, benchmark), seconds), "extra_info": {"kvgpt": made}} | {
        "params": {"new_tokens": new_tokens, "variant": variant}
    }


def plain(fullname, seconds=0.5):
    """A benchmark without a record."""
    stats = Stats()
    stats.update(seconds)
    return {
        "group": None,
        "name": fullname.partition("::")[2],
        "fullname": fullname,
        "params": None,
        "param": None,
        "extra_info": {},
        "options": {},
        "stats": {**stats.as_dict(), "data": stats.data, "iterations": 1},
    }


def named(variant, new_tokens, benchmark="latency"):
    return f"benchmarks/bench_{benchmark}.py::bench_{benchmark}[new_tokens={new_tokens}-{variant}]"


def document(*entries, asked=None, left_out=None, device=GPU, commit="a" * 40, dirty=False, **others):
    own = {"cases": [one["fullname"] for one in entries] if asked is None else asked, "left_out": left_out or {}}
    return {
        "machine_info": {"node": "w", "kvgpt": {"device": device}},
        "commit_info": {"id": commit, "dirty": dirty},
        "benchmarks": list(entries),
        "datetime": "2026-01-01T00:00:00+00:00",
        "version": "5.3.1",
        "kvgpt": {**own, "roof": {"copy": 1.0}},
        **others,
    }


@pytest.fixture
def files(tmp_path):
    """Write documents as ``w1.json``, ``w2.json`` and so on."""

    def write(*documents):
        paths = [tmp_path / f"w{number}.json" for number, _ in enumerate(documents, 1)]
        for path, one in zip(paths, documents, strict=True):
            path.write_text(json.dumps(one))
        return paths

    return write


def test_workers_become_one_file_that_reports_read_and_pytest_benchmark_compares(files, tmp_path):
    paths = files(document(entry("v1", 8), entry("v1", 16)), document(entry("v2", 8), entry("v2", 16), plain("x::y")))
    merged, out = merging.merge(paths), tmp_path / "out.json"
    assert merged.remarks == merged.missing == ()
    merging.write(out, merged)
    assert [case.name for case in recorded.read(out).cases] == [named(v, t) for v in ("v1", "v2") for t in (8, 16)]
    assert recorded.read(out).device == GPU
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "--columns=median", out]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "5 tests" in ran.stdout and all(name in ran.stdout for name in ("bench_latency[new_tokens=16-v2]", "y "))


def test_what_is_said_of_all_cases_is_the_firsts_and_each_workers_own_words_are_kept(files, tmp_path):
    second = document(entry("v2", 8), datetime="2026-01-02T00:00:00+00:00")
    second["machine_info"]["node"], second["kvgpt"]["roof"] = "x", {"copy": 2.0}
    paths = files(document(entry("v1", 8)), second)
    made = merging.merge(paths).document
    assert made["datetime"] == "2026-01-01T00:00:00+00:00" and made["machine_info"]["node"] == "w"
    assert made["kvgpt"]["workers"] == [
        {"file": "w1.json", "node": "w", "datetime": "2026-01-01T00:00:00+00:00", "roof": {"copy": 1.0}},
        {"file": "w2.json", "node": "x", "datetime": "2026-01-02T00:00:00+00:00", "roof": {"copy": 2.0}},
    ]
    merging.write(tmp_path / "half.json", merging.merge(paths))
    (tmp_path / "third").mkdir()
    third = tmp_path / "third" / "w3.json"
    third.write_text(json.dumps(document(entry("v3", 8))))
    again = merging.merge([tmp_path / "half.json", third]).document
    assert [one["file"] for one in again["kvgpt"]["workers"]] == ["w1.json", "w2.json", "w3.json"]
    assert again["kvgpt"]["cases"] == [named(variant, 8) for variant in ("v1", "v2", "v3")]


def test_the_same_files_give_the_same_bytes(files, tmp_path):
    paths = files(document(entry("v1", 8)), document(entry("v2", 8), asked=[named("v2", 16), named("v2", 8)]))
    for name in ("a.json", "b.json"):
        merging.write(tmp_path / name, merging.merge(paths))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


MIXED = {
    "devices": (
        {"device": {**GPU, "name": "another\nGPU"}},
        r"""'name': "an imagined GPU" and "another\nGPU": merge those of one kind, or say --allow devices""",
    ),
    "commits": ({"commit": "b" * 40, "dirty": True}, "'id': \"aaaaaaaa"),
    "schemas": ({"version": "5.2.0"}, '\'pytest-benchmark\': "5.3.1" and "5.2.0"'),
}


@pytest.mark.parametrize("fact", MIXED)
def test_what_must_not_be_mixed_is_refused_with_both_values_and_merged_where_that_is_allowed(files, fact):
    other, message = MIXED[fact]
    paths = files(document(entry("v1", 8)), document(entry("v2", 8), **other))
    for allow in ((), {*merging.ALLOWED} - {fact}):
        with pytest.raises(ValueError, match=f"--allow {fact}") as caught:
            merging.merge(paths, allow)
        assert message in str(caught.value) and f"{paths[0]} and {paths[1]}: different {fact}" in str(caught.value)
    merged = merging.merge(paths, {fact})
    assert len(merged.document["benchmarks"]) == 2
    assert len(merged.remarks) == 1 and f"different {fact}" in merged.remarks[0]


def test_a_fact_that_one_file_lacks_is_a_difference(files):
    bare = document(plain("x::y"), machine_info={"node": "w"})
    with pytest.raises(ValueError, match="'kind': \"cuda\" and null"):
        merging.merge(files(document(entry("v1", 8)), bare))
    assert merging.merge(files(bare, document(plain("x::z"), machine_info={"node": "w"}))).remarks == ()


def test_two_trees_with_changes_on_one_commit_are_remarked_on(files):
    paths = files(document(entry("v1", 8), dirty=True), document(entry("v2", 8), dirty=True))
    (remark,) = merging.merge(paths).remarks
    assert remark.startswith(f"{paths[0]}, {paths[1]}: measured with changes that no commit holds")
    assert merging.merge(paths[:1]).remarks == ()


def test_records_of_another_schema_are_refused_or_taken_as_they_are(files):
    old = entry("v2", 8)
    old["extra_info"]["kvgpt"] = {"schema": 0, "what": ["it", "was"]}
    paths = files(document(entry("v1", 8)), document(old))
    with pytest.raises(ValueError, match=r"w2\.json: benchmark 0: record: .*--allow schemas merges it as it is"):
        merging.merge(paths)
    merged = merging.merge(paths, {"schemas"})
    assert merged.document["benchmarks"][1] == old
    assert merged.remarks == (f"{paths[1]}: 1 records of another schema: merged as they are, read by no report",)
    broken = entry("v2", 8)
    del broken["extra_info"]["kvgpt"]["metrics"]
    with pytest.raises(ValueError, match=r"w1\.json: benchmark 0: record: metrics=None: expected dict$"):
        merging.merge(files(document(broken)), {"schemas"})


def test_a_case_that_is_there_twice_alike_counts_once(files):
    paths = files(document(entry("v1", 8), plain("x::y")), document(entry("v1", 8), entry("v2", 8), plain("x::y")))
    merged = merging.merge(paths)
    assert [one["fullname"] for one in merged.document["benchmarks"]] == [named("v1", 8), "x::y", named("v2", 8)]
    assert merged.remarks == (f"{paths[1]}: 2 cases are there already, alike: counted once",)


OTHER_NAME = {**entry("v1", 8), "fullname": "elsewhere::x"}


@pytest.mark.parametrize(
    ("again", "message"),
    [
        (entry("v1", 8, seconds=0.6), "'benchmarks/bench_latency.py::bench_latency[new_tokens=8-v1]' in {} and {}: le"),
        (OTHER_NAME, "[new_tokens=8-v1]', again as 'elsewhere::x', in {} and {}: leave one of the files out"),
        (entry("v1", 8, model="gpt2"), "bench_latency[new_tokens=8-v1]' in {} and {} (with another model): leave"),
        (plain(named("v1", 8)), "[new_tokens=8-v1]' in {} and {} (with another model, batch_size, new_tokens): le"),
    ],
)
def test_a_case_that_is_there_twice_and_differs_is_named_or_the_first_counts(files, again, message):
    paths = files(document(entry("v1", 8)), document(again))
    with pytest.raises(ValueError, match=r"1 cases are there twice and differ.*--allow repeats") as caught:
        merging.merge(paths, {"devices", "commits", "schemas"})
    assert message.format(*paths) in str(caught.value)
    merged = merging.merge(paths, {"repeats"})
    assert merged.document["benchmarks"] == [entry("v1", 8)]
    assert len(merged.remarks) == 1 and merged.remarks[0].endswith(": the first counts")


def test_of_many_repeats_three_are_named(files):
    paths = files(*[document(*[entry("v1", size, seconds) for size in range(1, 9)]) for seconds in (0.5, 0.6)])
    with pytest.raises(ValueError, match=r"^8 cases .*=1-v1.*=2-v1.*=3-v1.*; and 5 more: leave"):
        merging.merge(paths)


def test_a_case_that_a_worker_was_to_measure_is_missing_unless_another_has_it(files):
    first = document(entry("v1", 8), asked=[named("v1", 8), named("v1", 16), named("v2", 8)])
    paths = files(first, document(entry("v2", 8), asked=[named("v1", 16), named("v2", 8)]))
    merged = merging.merge(paths)
    assert merged.missing == (f"{named('v1', 16)!r}: {paths[0]} was to measure it",)
    assert merged.document["kvgpt"]["cases"] == [named("v1", 8), named("v1", 16), named("v2", 8)]


def test_a_hole_in_the_grid_is_missing(files):
    full = [entry(variant, size) for variant in ("v1", "dense+cla2", "pkg.mod:Class+cla2") for size in (8, 16)]
    paths = files(document(*full), document(entry("v2", 8), entry("v2", 8, benchmark="memory")))
    line = f"{named('v2', 16)!r}: no worker was to measure it, and other variants have it"
    assert merging.merge(paths).missing == (line,), "another benchmark is another grid"
    without = [{**json.loads(path.read_text()), "kvgpt": {}} for path in paths]
    assert merging.merge(files(*without)).missing == (line,), "also where files do not say what was asked for"


def test_a_hole_that_a_file_explains_is_none(files):
    whole = document(entry("v1", 8), entry("v1", 16))
    part = document(entry("v2", 8), left_out={"too long": [named("v2", 16), named("v1", 8)]})
    merged = merging.merge(files(whole, part))
    assert merged.missing == ()
    assert merged.document["kvgpt"]["left_out"] == {"too long": [named("v2", 16)]}, "what another measured is not"
    met = document(entry("v1", 8), entry("v1", 16), entry("v2", 8))
    assert merging.merge(files(met)).missing == (), "where one run had both and did not ask, the two do not meet"
    apart = [document(entry("v1", 8)), document(entry("v1", 16)), document(entry("v2", 8))]
    assert len(merging.merge(files(*apart)).missing) == 1


def test_a_name_that_does_not_show_its_variant_is_in_no_grid(files):
    twice = {**entry("8", 16), "fullname": "bench.py::f[8-8]"}
    hidden = {**entry("é", 8), "fullname": "bench.py::f[8-\\xe9]"}
    shown = {**entry("v1", 8), "fullname": "bench.py::f[8-v1]"}
    assert merging.merge(files(document(twice, hidden, shown, asked=[]))).missing == ()


def test_a_grid_too_large_to_be_one_is_not_searched(files):
    made = document(*[entry(f"w{number}", number) for number in range(400)], asked=[])
    (line,) = damage.bounded(lambda: merging.merge(files(made))).missing
    assert "400 variants at 400 places: not searched for holes" in line


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (json.dumps(document(entry("v1", 8)))[:-40], "not a results file"),
        ('{"version": "5", "version": "6"}', "key 'version' is there twice"),
        (json.dumps(document(entry("v1", 8))).replace("0.5", "NaN"), "NaN is no JSON number"),
        ('{"benchmarks": ' + "[" * 100_000, "nested deeper than"),
        ("[1]", "expected an object"),
        ('{"benchmarks": []}', "machine_info=None: expected dict"),
        (json.dumps(document(benchmarks=[3])), "benchmark 0: 3: expected an object"),
        (json.dumps(document(entry("v1", 8), kvgpt=[])), r"kvgpt=\[\]: expected dict"),
        (json.dumps(document(entry("v1", 8), asked=[["x"]])), "cases and left_out: expected lists of names"),
        (json.dumps(document(entry("v1", 8), left_out={"why": 3})), "cases and left_out: expected lists of names"),
    ],
)
def test_a_file_that_is_none_is_one_error_and_what_was_there_stays(tmp_path, files, written, message):
    (sound,) = files(document(entry("v1", 8)))
    broken = tmp_path / "broken.json"
    broken.write_text(written)
    with pytest.raises(ValueError, match=message) as caught:
        damage.bounded(lambda: merging.merge([sound, broken]))
    assert str(broken) in str(caught.value) and "\n" not in str(caught.value)


def test_files_too_large_to_be_results_are_not_read(tmp_path, files, monkeypatch):
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(100 * 10**6)
    with pytest.raises(ValueError, match=r"large\.json: 100000000 bytes: the limit is"):
        damage.bounded(lambda: merging.merge([large]))
    paths = files(document(entry("v1", 8)), document(entry("v2", 8)))
    monkeypatch.setattr(recorded, "LARGEST_FILE", paths[0].stat().st_size + 9)
    with pytest.raises(ValueError, match=r"bytes together: a results file has at most .*: merge fewer"):
        merging.merge(paths)


def test_a_journal_is_refused_with_what_makes_a_file_of_it(tmp_path):
    path = journal.beside(tmp_path / "w1.json")
    journal.start(tmp_path / "w1.json", journal.header({}, {}, "0.1")).close()
    with pytest.raises(ValueError, match=r"journal\.jsonl: results are merged as JSON: .*--kvgpt-resume"):
        merging.merge([path])


@pytest.mark.parametrize(
    ("paths", "allow", "message"), [([], (), "name at least one file"), ([1], ["gpus"], "--allow gpus: known: devices")]
)
def test_what_was_asked_for_must_make_sense(paths, allow, message):
    with pytest.raises(ValueError, match=message):
        merging.merge(paths, allow)


@given(changed=damage.altered(document(entry("v1", 8), plain("x::y"))), allow=st.sets(st.sampled_from(merging.ALLOWED)))
def test_a_file_of_anything_is_refused_or_merged_into_one_that_can_be_merged(tmp_path_factory, changed, allow):
    folder = tmp_path_factory.getbasetemp()
    path, out = folder / "anything.json", folder / "merged.json"
    path.write_bytes(changed)
    if not damage.refused(lambda: merging.merge([path], allow), path):
        merging.write(out, merging.merge([path], allow))
        before = deepcopy(merging.merge([out], allow).document["benchmarks"])
        assert before == merging.merge([path], allow).document["benchmarks"]
