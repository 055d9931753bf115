"""Sweeps on a project of cases that measure nothing: all are there once whatever becomes of a worker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_clock import FakeClock
from standin import BENCH, Project

from kvgpt import cli, recorded
from kvgpt.measure.sweep import plan as plans
from kvgpt.measure.sweep import preparing
from kvgpt.measure.sweep.conducting import PLUG_IN, Conductor, Place
from kvgpt.measure.sweep.ledger import SILENCE, Heart, Ledger, Run

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="two workers need two processors"
)
LENGTHS = (8, 16, 24, 32)
CASES = {length: [f"bench_it.py::bench_latency[{length}-{variant}]" for variant in ("v1", "v2")] for length in LENGTHS}
ALL = sorted(case for cases in CASES.values() for case in cases)
# A shell has its background jobs ignore SIGINT.
KVGPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from kvgpt.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Sweeps(Project):
    """The project with four comparisons, and ``kvgpt sweep`` in it."""

    def __init__(self, pytester, monkeypatch):
        super().__init__(pytester, monkeypatch)
        pytester.makepyfile(bench_it=BENCH.replace("[8, 16]", str(list(LENGTHS))))
        self.ledger = Ledger(self.path / "out.json.sweep")

    def start(self, *words, **options):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", KVGPT, "sweep", f"--out={self.out}", *words]
        return subprocess.Popen(command, cwd=self.path, **streams, **options)

    def sweep(self, *words, pytest_words=()):
        process = self.start(*words, "bench_it.py", *pytest_words)
        out, err = process.communicate(timeout=100)
        return process.returncode, out, err

    def plan(self):
        return plans.read(self.ledger.plan)

    def holders(self):
        """Of each length, who has it in the end."""
        found = {}
        for number, group in enumerate(self.plan().groups):
            found[int(group.key.partition("new_tokens=")[2].rstrip("]"))] = str(self.ledger.holder(number))
        return found

    def counts(self):
        """How often each case was begun."""
        ran = self.ran()
        return {case: ran.count(case) for case in ran}


@pytest.fixture
def project(pytester, monkeypatch):
    return Sweeps(pytester, monkeypatch)


def test_two_workers_measure_each_case_once_and_write_one_file(project):
    code, out, err = project.sweep("--workers", "2")
    assert code == 0, err
    assert sorted(project.names()) == ALL and sorted(project.asked()) == ALL
    assert project.counts() == dict.fromkeys(ALL, 1)
    bound = {len(line.split()) for line in (project.path / "cores").read_text().splitlines()}
    assert bound == {len(os.sched_getaffinity(0)) // 2}, "processors of each worker"
    assert len(recorded.read(project.out).cases) == 8
    assert "8 cases in 4 comparisons, 2 workers on cpu" in out and f"wrote {project.out}: 8 cases of 8" in out
    lines = [line for line in out.splitlines() if "latency v1 T=" in line]
    assert len(lines) == 4 and all(line.startswith(("worker 1 [", "worker 2 [")) for line in lines)
    assert "8 of 8 cases are on disk; 4 of 4 comparisons are settled" in err and "missing" not in err
    beside = json.loads(project.out.read_text())["kvgpt"]["workers"]
    assert {one["file"].partition(".")[0] for one in beside} <= {"worker1", "worker2"}
    compared = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", str(project.out)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert compared.returncode == 0 and "8 tests" in compared.stdout + compared.stderr


@pytest.mark.parametrize("place", ["v1 8", "v2 8"])
def test_what_a_killed_worker_leaves_is_taken_over_whole(project, place):
    project.trouble("kill once", place)
    code, out, err = project.sweep("--workers", "2")
    assert code == 0, err
    assert sorted(project.names()) == ALL
    dead = [run for run in project.ledger.runs() if project.ledger.file(run, "died").exists()]
    assert len(dead) == 1
    why = "killed by SIGKILL, as by a system that is out of memory"
    assert f"worker {dead[0].worker} died: {why}: see {project.ledger.folder}" in out
    assert project.holders()[8] != str(dead[0]), "another has it"
    made_by = {name: path.name for path in project.ledger.folder.glob("*.held.json") for name in held(path)}
    assert made_by[CASES[8][0]] == made_by[CASES[8][1]], "a comparison is of one worker"
    begun = project.counts()
    assert begun[CASES[8][0]] == 2, "also what the dead one had measured of it"
    assert all(begun[case] == 1 for length in LENGTHS[1:] for case in CASES[length])


def held(path):
    return [entry["fullname"] for entry in json.loads(path.read_text())["benchmarks"]]


def test_where_every_worker_dies_the_sweep_says_so_and_resume_goes_on(project):
    project.trouble("kill", "v2 16")
    code, out, err = project.sweep("--workers", "2")
    assert code == 2 and out.count("died: killed by SIGKILL") == 2
    assert "all 2 workers died" in err and "--resume goes on" in err and not project.out.exists()
    project.calm()
    before = project.counts()
    refused, _, err = project.sweep("--workers", "2")
    assert refused == 2 and "cases that this sweep holds: go on with --resume, or delete it" in err
    assert project.ran() == []
    code, _, err = project.sweep("--workers", "2", "--resume")
    assert code == 0, err
    assert sorted(project.names()) == ALL
    after = project.counts()
    settled = [length for length in LENGTHS if all(before.get(case) for case in CASES[length]) and length != 16]
    assert not any(after.get(case) for length in settled for case in CASES[length]), (
        "what was whole is not measured again"
    )
    assert project.sweep("--workers", "2")[0] == 0, "what is whole makes room for a new sweep"
    assert project.counts() == dict.fromkeys(ALL, 1)


@pytest.mark.parametrize("trouble", ["parent", "parent terminated"])
def test_ctrl_c_ends_all_workers_and_leaves_what_was_measured(project, trouble):
    project.trouble(trouble, "v2 8")
    code, out, err = project.sweep("--workers", "2")
    assert code == 130 and "kvgpt sweep: interrupted" in err and "died: interrupted: see" in out
    assert "of 8 cases are on disk" in err and not project.out.exists()
    log = "".join(path.read_text() for path in project.ledger.folder.glob("*.log"))
    assert "KeyboardInterrupt" in log
    assert any(CASES[8][0] in project.ledger.measured(run) for run in project.ledger.runs())
    project.calm()
    project.ran()
    code, _, err = project.sweep("--workers", "2", "--resume")
    assert code == 0, err
    assert sorted(project.names()) == ALL
    assert project.counts().get(CASES[8][0]) is None, "the same worker goes on within a comparison"


def test_a_case_that_fails_is_missing_and_takes_no_worker_with_it(project):
    project.trouble("assertion", "v1 8")
    code, out, err = project.sweep("--workers", "2")
    assert code == 1 and "died" not in out
    assert sorted(project.names()) == [case for case in ALL if case != CASES[8][0]]
    assert "missing: 'bench_it.py::bench_latency[8-v1]'" in err
    assert project.counts() == dict.fromkeys(ALL, 1)


def test_passes_of_a_comparison_are_one_workers(project):
    project.trouble("kill once", "v2 8")
    code, out, err = project.sweep("--workers", "2", pytest_words=["--kvgpt-repeats=2"])
    assert code == 0, err
    assert sorted(project.names()) == ALL
    assert "pass 1/2 [" in out and "pass 2/2 [" in out
    for entry in project.entries():
        assert len(entry["extra_info"]["kvgpt"]["metrics"]["per_token_latency"]["processes"]) == 2
        assert entry["extra_info"]["kvgpt"]["validity"]["ok"], entry["extra_info"]["kvgpt"]["validity"]
    beside = json.loads(project.out.read_text())["kvgpt"]
    assert sorted(beside["cases"]) == ALL


def test_shards_on_several_machines_share_a_folder(project):
    both = [project.start("--shard", f"{part}/2", "bench_it.py") for part in (1, 2)]
    ends = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert sorted(project.names()) == ALL and project.counts() == dict.fromkeys(ALL, 1)
    assert sum("wrote" in out for out, _ in ends) >= 1
    code, _, err = project.sweep("--shard", "1/2")
    assert code == 0 and project.ran() == [], "all is measured"
    code, _, err = project.sweep("--shard", "1/3")
    assert code == 2 and "of another sweep: workers was 2, is 3: repeat its arguments" in err


def test_a_shard_alone_does_the_work_of_those_that_never_come(project):
    code, _, err = project.sweep("--shard", "2/3")
    assert code == 0, err
    assert sorted(project.names()) == ALL
    assert set(project.holders().values()) == {"worker2.run1"}


def test_a_machine_that_went_silent_loses_its_comparisons(project):
    """Another machine's worker has claimed a comparison and says nothing more: nobody here sees it die."""
    clock, said = FakeClock(), []
    ledger, plan = Ledger(project.ledger.folder, clock), preparing.make_plan(["bench_it.py"], 2)
    ledger.folder.mkdir()
    ledger.begin(plan)
    Heart(ledger.file(Run(2, 1), "beat")).say()
    assert ledger.take(1, plan.groups[1], Run(2, 1))
    Conductor(plan, ledger, {1: Place()}, ["bench_it.py"], said.append, sleep=clock.advance).run()
    assert clock() >= SILENCE and project.counts() == dict.fromkeys(ALL, 1)
    assert sorted(project.holders().values()) == ["worker1.run1"] * 3 + ["worker1.run2"]
    assert ledger.holder(1) == Run(1, 2) and len(said) == 8


def test_who_was_taken_for_dead_and_is_not_measures_no_more_of_what_others_have(project, monkeypatch):
    ledger = project.ledger
    ledger.folder.mkdir()
    ledger.begin(preparing.make_plan(["bench_it.py"], 1))
    begun, take = [], Ledger.take

    def taken_over(self, number, group, run):
        took = take(self, number, group, run)
        begun.append(number)
        if len(begun) == 2:
            (ledger.folder / "claims" / f"{number}.2").write_text("worker9.run1")
        return took

    monkeypatch.setattr(Ledger, "take", taken_over)
    result = project.pytester.runpytest_inprocess(
        *PLUG_IN, f"--kvgpt-sweep={ledger.folder}", "--kvgpt-run=worker1.run1", f"--benchmark-json={project.out}"
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED and len(project.ran()) == 2
    assert "worker1.run1 was taken for dead: others have its groups" in result.stdout.str()


def test_a_plan_is_shown_and_nothing_is_left_of_it(project):
    code, out, _ = project.sweep("--plan", "--workers", "2")
    assert code == 0 and "8 cases in 4 comparisons, 2 workers on cpu" in out
    assert [line.split()[:2] for line in out.splitlines() if "bench_it.py" in line] == [["1", "2"]] * 2 + [
        ["2", "2"]
    ] * 2
    assert not project.ledger.folder.exists() and project.ran() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0", "bench_it.py"], "0 workers: a sweep needs at least 1"),
        (["bench_it.py"], "how many workers?"),
        (["--workers", "4096", "bench_it.py"], "--workers 4096: this process may run on"),
        (["--workers", "2", "bench_it.py", "--no-such"], "unrecognized arguments: --no-such"),
        (["--workers", "2", "bench_it.py", "--kvgpt-variants=v9"], "unknown variant 'v9'"),
        (["--workers", "2", "bench_it.py", "--benchmark-json=x"], "name the file with --out"),
        (["--workers", "2", "bench_it.py", "--kvgpt-resume"], "goes on with --resume"),
        (["--workers", "2", "bench_it.py", "--benchmark-disable"], "a sweep measures"),
        (["--workers", "2", "nothing.py"], "nothing.py"),
        (["--workers", "2", "bench_it.py", "-k", "nothing"], "collects nothing"),
        (["--shard", "3/2", "bench_it.py"], "expected K/N with K from 1 to N"),
        (["--status"], "no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(project, capfd, words, said):
    assert cli.main(["sweep", f"--out={project.out}", *words]) == 2
    assert said in capfd.readouterr().err
    assert not project.ledger.folder.exists() and project.ran() == []


def test_the_view_shows_all_workers(project):
    project.trouble("kill once", "v1 8")
    project.sweep("--workers", "2")
    dead = next(run for run in project.ledger.runs() if project.ledger.file(run, "died").exists())
    process = project.start("--status")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = out.splitlines()
    assert lines[0] == "8 of 8 cases are on disk; 4 of 4 comparisons are settled"
    assert any(line.startswith(str(dead)) and "died" in line and "SIGKILL" in line for line in lines)
    assert any(" ended " in line and "/" in line for line in lines)


def test_the_slurm_script_of_the_page_runs_the_same_command(project, monkeypatch):
    page = (Path(__file__).parent.parent / "docs" / "benchmarking.md").read_text()
    script = next(block for block in page.split("```") if "#SBATCH --array" in block).removeprefix("sh\n")
    start = project.path / "kvgpt"
    start.write_text(f'#!/bin/sh\nexec {sys.executable} -m kvgpt "$@" --kvgpt-device cpu bench_it.py\n')
    start.chmod(0o700)
    monkeypatch.setenv("PATH", f"{project.path}:{os.environ['PATH']}")
    for task in ("2", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
        ran = subprocess.run(["/bin/sh"], input=script, text=True, cwd=project.path, timeout=100, check=False)
        assert ran.returncode == 0
    assert project.counts() == dict.fromkeys(ALL, 1)
    results = json.loads((project.path / "sweep.json").read_text())
    assert sorted(entry["fullname"] for entry in results["benchmarks"]) == ALL
