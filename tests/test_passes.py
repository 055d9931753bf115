"""Passes: fresh processes one after another, every second one backwards, folded into one file."""

import signal
from pathlib import Path

import pytest
from standin import CASES, Project

from kvgpt import journal, recorded
from kvgpt.measure import passes

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester, monkeypatch):
    return Project(pytester, monkeypatch)


def test_passes_run_there_and_back_and_are_folded(project):
    project.run("-k", "v2")
    project.ran()
    result = project.run("--kvgpt-repeats=3", "-k", "8")
    assert result.ret == 0
    assert project.ran() == [CASES[0], CASES[1], CASES[1], CASES[0], CASES[0], CASES[1]]
    result.stdout.fnmatch_lines(
        [
            "pass 1/3 [[]1/2] latency v1 T=8 B=1: 1.23 ms/token*",
            "pass 2/3 [[]1/2] latency v2 T=8 B=1: 1.23 ms/token*",
            "pass 2/3 [[]2/2] latency v1 T=8 B=1: 1.23 ms/token",
            "pass 3/3 [[]2/2] latency v2 T=8 B=1: 1.23 ms/token",
            f"2 cases of 3 passes are in {project.out}",
        ]
    )
    assert project.names() == CASES[:2]
    entry = project.entries()[0]
    figure = entry["extra_info"]["kvgpt"]["metrics"]["per_token_latency"]
    own = [recorded.read(project.path / "out.json.passes" / f"pass{number}.json").cases for number in (1, 2, 3)]
    mine = [next(case for case in cases if case.variant == "v1") for cases in own]
    assert figure["processes"] == [case.metrics["per_token_latency"]["processes"][0] for case in mine]
    assert entry["stats"]["rounds"] == 9 == len(entry["stats"]["data"])
    assert recorded.read(project.out).device["name"] == "a CPU"
    assert project.asked() == CASES[:2]
    log = (project.path / "out.json.pass2.log").read_text()
    assert "test session starts" in log and "2 passed" in log
    assert project.run("--kvgpt-repeats=1", "-k", "8-v1").ret == 0, "a plain run writes over what is whole"


def test_a_pass_that_fails_ends_the_run_with_its_exit_code_and_resume_goes_on(project):
    project.trouble("kill", "v1 8")
    result = project.run("--kvgpt-repeats=2", "-k", "8")
    assert result.ret == 128 + signal.SIGKILL and not project.out.exists()
    message = f"pass 1 of 2 ended with exit code -9: see {project.path}/out.json.pass1.log"
    assert message in result.stdout.str() + result.stderr.str()
    project.calm()
    project.trouble("assertion", "v1 8")
    assert project.run("--kvgpt-repeats=2", "--kvgpt-resume", "-k", "8").ret == 1
    project.calm()
    project.ran()
    refused = project.run("--kvgpt-repeats=2", "-k", "8")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR and project.ran() == []
    assert "out.json lacks 1 cases that these passes hold: go on with --kvgpt-resume" in refused.stderr.str()
    assert project.run("--kvgpt-repeats=2", "--kvgpt-resume", "-k", "8").ret == 0
    assert project.ran() == [CASES[0], CASES[1], CASES[0]], "of the first pass one case was left"
    assert project.names() == CASES[:2] and all(
        len(entry["extra_info"]["kvgpt"]["metrics"]["per_token_latency"]["processes"]) == 2
        for entry in project.entries()
    )


def test_what_met_a_slower_machine_in_one_pass_is_measured_again_and_nothing_else(project):
    project.trouble("pulse", "v1 8 2 1 1")
    result = project.run("--kvgpt-repeats=2", "-k", "8")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["pass 1/2 met a slower machine in 1 case: measured again"])
    assert project.ran() == [CASES[0], CASES[1], CASES[1], CASES[0], CASES[0]] and project.names() == CASES[:2]
    metrics = [entry["extra_info"]["kvgpt"]["metrics"] for entry in project.entries()]
    assert [len(one["per_token_latency"]["processes"]) for one in metrics] == [2, 2]
    journaled = journal.read(project.path / "out.json.passes" / "pass1.json.journal.jsonl")
    pulses = {name: one["extra_info"]["kvgpt"]["details"]["pulse"]["work"] for name, one in journaled.entries.items()}
    assert pulses == {CASES[1]: 1.0, CASES[0]: 1.0}


def test_of_what_was_measured_again_the_calmest_counts(project):
    project.trouble("pulse", "v1 8 2 1 3 1.5 1.4 1.6 9 9 9 9 9")
    assert project.run("--kvgpt-repeats=2", "-k", "8").ret == 0
    (first,) = [one for one in project.entries() if one["fullname"] == CASES[0]]
    pass1 = project.path / "out.json.passes" / "pass1.json"
    kept = journal.read(journal.beside(pass1)).entries[CASES[0]]
    assert kept["extra_info"]["kvgpt"]["details"]["pulse"] == {"work": 1.4}
    (own,) = [case for case in recorded.read(pass1).cases if case.variant == "v1"]
    assert own.details["pulse"] == {"work": 1.4} and len(recorded.read(pass1).cases) == 2
    assert own.metrics["per_token_latency"]["processes"][0] == kept["stats"]["data"]
    assert first["extra_info"]["kvgpt"]["metrics"]["per_token_latency"]["processes"][0] == kept["stats"]["data"]
    resumed = project.run("--kvgpt-repeats=2", "--kvgpt-resume", "-k", "8")
    assert resumed.ret == 0, "the journals hold what the passes' files hold"


def test_a_machine_that_stays_slow_takes_three_times_the_passes_at_most(project):
    project.trouble("pulse", "v1 8 1 2 2 2 2 2 2")
    result = project.run("--kvgpt-repeats=2", "-k", "8")
    assert result.ret == 0 and project.names() == CASES[:2]
    assert project.ran() == [CASES[0], CASES[1], CASES[1], *[CASES[0]] * 5]
    assert result.stdout.str().count("pass 2/2 met a slower machine in 1 case: measured again") == 4


def test_where_every_pass_is_as_slow_none_is_slower(project):
    project.trouble("pulse", "v1 8 2 2 2 2")
    assert project.run("--kvgpt-repeats=2", "-k", "8").ret == 0
    assert project.ran() == [CASES[0], CASES[1], CASES[1], CASES[0]]


def test_ctrl_c_reaches_the_pass_and_ends_both(project):
    project.trouble("parent", "v2 8")
    result = project.run("--kvgpt-repeats=2", "-k", "8", fresh_process=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    log = (project.path / "out.json.pass1.log").read_text()
    assert "1 of 2 cases have ended: go on with --kvgpt-resume" in log and "KeyboardInterrupt" in log
    read = journal.read(project.path / "out.json.passes" / "pass1.json.journal.jsonl")
    assert list(read.entries) == CASES[:1]
    assert not project.out.exists() and not (project.path / "out.json.pass2.log").exists()


def test_where_a_log_cannot_be_written_it_is_one_error(project):
    (project.path / "out.json.pass1.log").mkdir()
    result = project.run("--kvgpt-repeats=2")
    assert result.ret == 1 and project.ran() == []
    assert "out.json.pass1.log" in result.stdout.str() and "INTERNALERROR" not in result.stdout.str()


def test_passes_need_a_file_to_be_folded_into(project, pytester):
    result = pytester.runpytest_inprocess("--kvgpt-repeats=2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--kvgpt-repeats: passes are folded into a file: name one" in result.stderr.str()


@pytest.mark.parametrize(
    "untimed", [["--benchmark-disable"], ["--benchmark-skip"], ["--collect-only"], ["-p", "xdist.plugin", "-n", "1"]]
)
def test_where_nothing_is_timed_there_are_no_passes(project, untimed):
    if "-n" in untimed:
        pytest.importorskip("xdist")
    result = project.run("--kvgpt-repeats=2", *untimed, fresh_process="-n" in untimed)
    assert result.ret == 0 and not list(project.path.glob("out.json.pass*"))
    assert not project.journal.exists()


def test_what_a_single_run_left_unfinished_is_not_lost_to_passes(project):
    project.run("-k", "v1")
    project.out.unlink()
    for option in ([], ["--kvgpt-resume"]):
        project.ran()
        result = project.run("--kvgpt-repeats=2", *option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "out.json lacks 2 cases that this journal holds" in result.stderr.str() and project.ran() == []
    assert project.journaled() == [CASES[0], CASES[2]]


def test_a_passs_own_options_come_last_but_before_what_is_no_option(project, pytester):
    config = pytester.parseconfigure("--kvgpt-repeats=4", "--benchmark-json=x.json", "--", str(project.path))
    made = passes.Passes(config, Path("x.json"), 4, resume=False)
    folder = Path.cwd() / "x.json.passes"
    given = [*config.invocation_params.args]
    at = given.index("--")
    one = ["--kvgpt-repeats=1", f"--benchmark-json={folder / 'pass1.json'}"]
    assert made._arguments(1, resume=False) == [*given[:at], *one, "--", *given[at + 1 :]]
    assert made._arguments(2, resume=False)[at + 2 : at + 4] == ["-p", "kvgpt.measure.backwards"]
