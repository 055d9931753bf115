"""The recorder: what ended is on disk, what did not is nowhere, and a run goes on where it was cut short."""

import errno
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from standin import CASES, Project

from kvgpt import journal, recorded
from kvgpt.measure import out_of_memory

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester, monkeypatch):
    return Project(pytester, monkeypatch)


@pytest.fixture
def compared(project, pytester):
    """What ``pytest-benchmark compare`` prints of ``out.json``."""

    def compare():
        return pytester.run(sys.executable, "-m", "pytest_benchmark", "compare", project.out).stdout.str()

    return compare


def test_a_run_leaves_its_json_and_a_journal_of_the_same_cases(project):
    result = project.run()
    assert result.ret == 0
    assert project.names() == project.journaled() == CASES
    lines = project.journal.read_text().splitlines()
    assert [json.loads(line) for line in lines[1:]] == project.entries(), "the JSON is made of the journal's lines"
    header = json.loads(lines[0])
    assert (
        header["device"]["name"] == "a CPU" and header["settings"]["rounds"] > 0 and "resume" not in header["settings"]
    )
    assert header["torch"] == "2.9"
    assert recorded.read(project.journal).cases == recorded.read(project.out).cases


def test_what_is_known_of_a_case_at_the_end_only_is_in_the_json(project):
    project.trouble("late", "")
    project.run()
    assert [entry["extra_info"]["kvgpt"]["validity"]["notes"] for entry in project.entries()] == [
        ["known at the end"]
    ] * 4
    assert project.run("-k", "v1").ret == 0, "and the journal holds nothing that the JSON does not"


def test_without_a_json_there_is_no_journal(project, pytester):
    result = pytester.runpytest_inprocess()
    assert result.ret == 0
    assert not list(project.path.glob("*.json*"))


@pytest.mark.parametrize("untimed", ["--benchmark-disable", "--benchmark-skip", "--collect-only"])
def test_where_nothing_is_timed_nothing_is_written(project, untimed):
    project.run(untimed)
    assert not project.out.exists() and not project.journal.exists()


def test_a_run_killed_in_a_case_goes_on_there_and_ends_like_one_that_was_not(project):
    project.trouble("kill", "v1 16")
    killed = project.run(fresh_process=True)
    assert killed.ret == -signal.SIGKILL
    assert project.journaled() == CASES[:2] and not project.out.exists()
    project.calm()
    project.ran()
    resumed = project.run("--kvgpt-resume")
    assert resumed.ret == 0
    resumed.stdout.fnmatch_lines(["resumed: 2 cases are in the journal already", "[[]3/4] latency v1 T=16 B=1: *"])
    assert project.ran() == CASES[2:]
    assert project.names() == project.journaled() == CASES


def test_with_nothing_left_to_run_the_json_is_made_of_the_journal(project, compared):
    project.run()
    before = json.loads(project.out.read_text())
    project.out.unlink()
    project.ran()
    result = project.run("--kvgpt-resume")
    assert result.ret == 0 and project.ran() == []
    after = json.loads(project.out.read_text())
    assert after["benchmarks"] == before["benchmarks"] and after["machine_info"] == before["machine_info"]
    assert set(after) == {"machine_info", "commit_info", "benchmarks", "datetime", "version", "kvgpt"}
    table = compared()
    assert all(name.partition("::")[2] in table for name in CASES)


def test_cases_stay_in_the_order_of_collection_and_what_is_not_collected_is_kept(project):
    project.run("-k", "v2")
    project.run("--kvgpt-resume", "-k", "8-v1 or 16-v2")
    assert project.journaled() == [CASES[1], CASES[3], CASES[0]]
    assert project.names() == [CASES[0], CASES[3], CASES[1]], "in this run's order, and then what it left out"


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ("another CPU", [], 'device.name was "a CPU", is "another CPU"'),
        ("a CPU", ["--kvgpt-rounds=5"], "settings.rounds was 7, is 5: repeat its options, or delete it"),
    ],
)
def test_another_run_is_not_gone_on_with(project, changed, options, message):
    project.run("-k", "v1", "--kvgpt-rounds=7")
    (project.path / "device").write_text(changed)
    result = project.run("--kvgpt-resume", *(options or ["--kvgpt-rounds=7"]))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str() + result.stdout.str()
    assert project.journaled() == [CASES[0], CASES[2]]


def test_to_resume_a_journal_is_needed(project, pytester):
    result = pytester.runpytest_inprocess("--kvgpt-resume")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no journal without --benchmark-json" in result.stderr.str() + result.stdout.str()
    assert project.run("--kvgpt-resume", "-k", "8-v1").ret == 0, "where there is none yet, one is begun"
    assert project.journaled() == CASES[:1]


def test_a_new_run_does_not_write_over_cases_that_no_json_holds(project):
    project.run()
    finished = project.out.read_text()
    assert project.run("-k", "v1").ret == 0, "that of a run which has ended is replaced"
    project.out.write_text(finished)
    project.ran()
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR and project.ran() == []
    output = result.stderr.str() + result.stdout.str()
    assert "out.json lacks 2 cases that this journal holds: go on with --kvgpt-resume, or delete it" in output
    project.out.write_text("")
    assert project.run().ret == pytest.ExitCode.USAGE_ERROR
    project.journal.unlink()
    assert project.run().ret == 0


@pytest.mark.parametrize("trouble", ["assertion", "record"])
def test_what_did_not_pass_or_has_no_record_is_in_neither_but_the_json_says_that_it_was_to_be(project, trouble):
    project.trouble(trouble, "v2 8")
    result = project.run()
    assert result.ret == (1 if trouble == "assertion" else 0)
    assert project.names() == project.journaled() == [CASES[0], *CASES[2:]]
    assert project.asked() == CASES


def test_a_run_that_goes_on_was_to_measure_what_it_collects_and_what_it_has(project):
    project.run("-k", "v2")
    assert project.asked() == [CASES[1], CASES[3]]
    project.trouble("assertion", "v1 16")
    project.run("--kvgpt-resume", "-k", "v1")
    assert project.names() == [CASES[0], CASES[1], CASES[3]]
    assert project.asked() == [CASES[0], CASES[2], CASES[1], CASES[3]]


def test_a_test_beside_the_benchmarks_is_no_case(project, pytester):
    pytester.makepyfile(bench_other="def bench_nothing(): pass")
    assert project.run().ret == 0
    assert project.asked() == CASES


def test_ctrl_c_in_a_round_leaves_what_had_ended_and_no_half_case(project):
    project.trouble("interrupt", "v1 16")
    result = project.run(fresh_process=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert project.names() == project.journaled() == CASES[:2]
    result.stdout.fnmatch_lines(["2 of 4 cases have ended: go on with --kvgpt-resume"])
    assert "bench_latency[16-v1]" not in result.stdout.str().partition("Legend")[0].partition("Name (time")[2]


def test_out_of_memory_is_a_result_and_the_run_goes_on(project, compared):
    project.trouble("memory", "v2 8")
    result = project.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["[[]2/4] latency v2 T=8 B=1: out of memory: cannot take 9 bytes*"])
    assert project.names() == project.journaled() == CASES
    entry = project.entries()[1]
    made = entry["extra_info"]["kvgpt"]
    assert made["metrics"] == {}
    assert made["validity"] == {"ok": False, "notes": ["out of memory: cannot take 9 bytes"]}
    assert entry["stats"]["rounds"] == 1 and 0 < entry["stats"]["median"] == entry["stats"]["data"][0]
    assert entry["params"] == {"variant": "v2", "new_tokens": 8} and entry["name"] == "bench_latency[8-v2]"
    assert "bench_latency[8-v2]" in compared()


def test_after_a_case_that_ran_out_of_memory_caches_are_emptied(project, monkeypatch):
    emptied = []
    monkeypatch.setattr(
        out_of_memory, "empty_caches", lambda: emptied.append(len((project.path / "ran").read_text().split()))
    )
    project.trouble("memory", "v2 8")
    project.run()
    assert emptied == [2], "once, before the third"


def test_where_nothing_is_timed_out_of_memory_fails_the_test(project):
    project.trouble("memory", "v2 8")
    assert project.run("--benchmark-disable").ret == 1


def test_a_disk_that_is_full_stops_the_run_at_once_with_one_error(project, monkeypatch):
    append = journal.Writer.append

    def full(writer, line):
        if line.get("fullname") == CASES[2]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(writer, line)

    monkeypatch.setattr(journal.Writer, "append", full)
    result = project.run()
    assert result.ret == 1 and project.ran() == CASES[:3]
    assert project.journaled() == CASES[:2] and not project.out.exists()
    result.stdout.fnmatch_lines([f"*out.json.journal.jsonl: No space left on device: {CASES[2]}* is lost: make room*"])


def test_where_the_json_does_not_fit_the_old_one_stays(project, monkeypatch):
    project.out.write_text("before")

    def full(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".partial":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = project.run()
    assert result.ret == 1
    assert project.out.read_text() == "before" and project.journaled() == CASES
    assert not list(project.path.glob("*.partial"))
    result.stdout.fnmatch_lines(["*out.json: No space left on device: its journal holds every case: make room*"])


def test_two_runs_do_not_write_one_journal(project):
    writer = journal.open_writer(project.journal)
    result = project.run()
    writer.close()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "another run is writing it" in result.stderr.str() + result.stdout.str()


def test_where_the_folder_is_missing_it_is_said_before_anything_is_measured(project):
    project.out = project.path / "missing" / "out.json"
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR and project.ran() == []
    assert "No such file or directory" in result.stderr.str() + result.stdout.str()
