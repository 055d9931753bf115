"""Two commits in turns: each from its own files, in the order that drift weighs on alike, and nothing left behind."""

import json
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pytest
from pytest_benchmark.stats import Stats
from standin import BENCH, CONFTEST, INI

import kvgpt
from kvgpt import record, recorded
from kvgpt.measure import commits
from kvgpt.measure.requirements import differences
from kvgpt.measure.turns import CHANNEL

PYPROJECT = '[project]\nname = "x"\nrequires-python = ">=3.11"\ndependencies = ["torch>=2", "numpy"]\n'
FIELDS = ("words", "directory", "log", "watch", "environment")
SECONDS = {"base": 0.001, "head": 0.002}


class Clone:
    """A repository of two commits, of which each file ``side`` says which it is."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.git("init", "--quiet")
        for side in commits.SIDES:
            self.commit({"side": side, "pyproject.toml": PYPROJECT, "kvgpt/__init__.py": ""})

    def git(self, *arguments):
        settings = ("user.name=a", "user.email=a@b", "commit.gpgsign=false", "core.hooksPath=/dev/null")
        command = ["git", *(word for one in settings for word in ("-c", one)), *arguments]
        return subprocess.run(command, cwd=self.path, check=True, capture_output=True, text=True).stdout

    def commit(self, files):
        for name, text in files.items():
            (self.path / name).parent.mkdir(exist_ok=True, parents=True)
            (self.path / name).write_text(text)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message=x")

    def worktrees(self):
        return self.git("worktree", "list", "--porcelain").count("worktree ")


class Fake:
    """Runs nothing: notes what it was to run, and leaves the results that a pass leaves."""

    def __init__(self, imports="{tree}/kvgpt/__init__.py"):
        self.imports, self.calls, self.trouble = imports, [], lambda side, number: None
        self.at_once = []
        self.counts = dict.fromkeys(commits.SIDES, 0)

    def __call__(self, *commands):
        self.at_once.append([(command.directory / "side").read_text() for command in commands])
        for command in commands:
            for descriptor in command.keeps:
                os.close(descriptor)
        return [self.one(*map(partial(getattr, command), FIELDS)) for command in commands]

    def one(self, command, directory, log, watch, environment):
        side = (directory / "side").read_text()
        self.calls.append((side, command[1:], directory, environment))
        log.write(b"said\n")
        watch("a warning")
        if "-c" in command:
            watch(self.imports.format(tree=directory))
            return 0
        if "--collect-only" in command:
            return self.trouble(side, 0) or 0
        self.counts[side] += 1
        watch(f"[1/1] latency v1: case {self.counts[side]}")
        code = self.trouble(side, self.counts[side])
        if code is None:
            (out,) = (Path(word.partition("=")[2]) for word in command if word.startswith("--benchmark-json="))
            out.write_text(json.dumps(results(SECONDS[side] * self.counts[side])))
        return code or 0

    def passes(self):
        return [(side, command) for side, command, *_ in self.calls if "-c" not in command and not collects(command)]


def collects(command):
    return "--collect-only" in command


def results(seconds):
    stats = Stats()
    stats.update(seconds)
    figures = {"per_token_latency": record.metric("per_token_latency", seconds, samples=[seconds])}
    made = record.record("latency", "v1", "dense", {"new_tokens": 8, "batch_size": 1}, figures)
    one = {"fullname": "b::c", "name": "c", "stats": {**stats.as_dict(), "data": stats.data, "iterations": 1}}
    return {"machine_info": {}, "commit_info": {}, "benchmarks": [{**one, "extra_info": {"kvgpt": made}}]}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    made = Clone(tmp_path / "clone")
    monkeypatch.chdir(made.path)
    yield made
    assert made.worktrees() == 1 and not list((tmp_path / "temporary").iterdir()), "worktrees are left behind"


@pytest.fixture
def measure(clone, tmp_path):
    """Measure HEAD~1 and HEAD with a :class:`Fake`; what was said is kept."""

    def run(fake, passes=2, arguments=(), base="HEAD~1", folder=tmp_path / "out"):
        run.said = []
        return commits.measure(base, arguments, passes, folder, run.said.append, fake)

    return run


def test_the_two_are_measured_in_turns_and_every_second_time_backwards(measure):
    fake = Fake()
    measure(fake, passes=4)
    order = [side for side, _ in fake.passes()]
    assert order == ["base", "head", "head", "base", "base", "head", "head", "base"]
    backwards = ["kvgpt.measure.backwards" in command for _, command in fake.passes()]
    assert backwards == [False, False, True, True] * 2, "each side meets either order of its cases as often"


def test_where_both_commits_can_the_two_run_at_once_and_take_turns(measure, clone):
    fake = Fake()
    measure(fake, passes=3)
    assert all(len(sides) == 1 for sides in fake.at_once), "neither knows how to"
    clone.commit({"kvgpt/measure/turns.py": "", "side": "base"})
    apart = Fake()
    measure(apart, passes=1, folder=clone.path.parent / "apart")
    assert all(len(sides) == 1 for sides in apart.at_once), "one of the two does not"
    clone.commit({"side": "head"})
    fake = Fake()
    measure(fake, passes=3, folder=clone.path.parent / "together")
    assert [sides for sides in fake.at_once if len(sides) > 1] == [["base", "head"], ["head", "base"], ["base", "head"]]
    roles = [environment[CHANNEL].partition(":")[0] for *_, environment in fake.calls if CHANNEL in environment]
    assert roles == ["first", "second"] * 3
    assert [line for line in measure.said if "took" in line][-1].startswith("base and head 3/3 took ")


def test_a_pass_is_pytest_among_its_commits_files_with_that_commits_kvgpt(measure, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("GIT_PREFIX", "kvgpt/")
    fake = Fake()
    measure(fake, passes=1, arguments=["-k", "v1", "--kvgpt-rounds=3"])
    assert {(side, directory.name) for side, _, directory, _ in fake.calls} == {("base", "base"), ("head", "head")}
    for _, _, directory, environment in fake.calls:
        assert environment["PYTHONPATH"] == f"{directory}{os.pathsep}/elsewhere"
        assert environment["PATH"] == os.environ["PATH"] and "GIT_PREFIX" not in environment
    assert fake.passes()[1][1] == [
        *("-m", "pytest", "-o", "testpaths=benchmarks", "--kvgpt-repeats=1"),
        f"--benchmark-json={tmp_path / 'out' / 'head.pass1.json'}",
        *("-k", "v1", "--kvgpt-rounds=3"),
    ]


def test_both_are_imported_and_collected_before_either_is_measured(measure):
    fake = Fake()
    measure(fake, arguments=["-k", "v1"])
    before = [(side, command) for side, command, *_ in fake.calls[:4]]
    assert [(side, collects(command)) for side, command in before] == [
        *(("base", False), ("base", True)),
        *(("head", False), ("head", True)),
    ]
    collection = before[1][1]
    assert "kvgpt.measure.backwards" in collection and collection[-2:] == ["-k", "v1"]
    assert not any(word.startswith("--benchmark-json") for word in collection)


def test_each_sides_passes_are_folded_and_kept_with_their_logs(measure, tmp_path):
    base, head = measure(Fake(), passes=3)
    for side, path in (("base", base), ("head", head)):
        assert path == tmp_path / "out" / f"{side}.json"
        (case,) = recorded.read(path).cases
        assert case.metrics["per_token_latency"]["processes"] == [[SECONDS[side] * number] for number in (1, 2, 3)]
        assert [path.with_name(f"{side}.pass{number}.json").exists() for number in (1, 2, 3, 4)] == [True] * 3 + [False]
        assert path.with_name(f"{side}.pass3.log").read_text() == "said\n"


def test_it_says_what_is_measured_and_how_long_it_takes(measure, clone, monkeypatch):
    times = iter(range(0, 1000, 30))
    monkeypatch.setattr(commits.time, "monotonic", lambda: next(times))
    measure(Fake(), passes=2)
    ids = [clone.git("rev-parse", ref)[:12] for ref in ("HEAD~1", "HEAD")]
    assert measure.said == [
        f"base is {ids[0]}; head is {ids[1]}",
        "base 1/2 [1/1] latency v1: case 1",
        "base 1/2 took 30 s | 1 min 30 s left",
        "head 1/2 [1/1] latency v1: case 1",
        "head 1/2 took 30 s | 1 min 0 s left",
        "head 2/2 [1/1] latency v1: case 2",
        "head 2/2 took 30 s | 30 s left",
        "base 2/2 [1/1] latency v1: case 2",
        "base 2/2 took 30 s",
    ]


@pytest.mark.parametrize("found", ["/site-packages/kvgpt/__init__.py", "None", "{tree}/../head2/kvgpt/__init__.py"])
def test_another_kvgpt_than_the_commits_own_is_not_measured(measure, found):
    fake = Fake(found)
    with pytest.raises(ValueError, match=r"base: kvgpt is imported from .*, not from this commit's files"):
        measure(fake)
    assert len(fake.calls) == 1


@pytest.mark.parametrize(("number", "what"), [(0, "collection"), (2, "pass2")])
def test_what_fails_stops_everything_and_names_its_log(measure, tmp_path, number, what):
    fake = Fake()
    fake.trouble = lambda side, at: 3 if (side, at) == ("head", number) else None
    log = tmp_path / "out" / f"head.{what}.log"
    with pytest.raises(ValueError, match=rf"^{what} of head ended with exit code 3: see {log}$"):
        measure(fake, passes=4)
    assert log.read_text() == "said\n" and fake.calls[-1][0] == "head"
    assert fake.counts == {"base": min(number, 1), "head": number}
    assert not (tmp_path / "out" / "base.json").exists()


def test_a_pass_that_measures_nothing_is_an_error(measure):
    fake = Fake()
    fake.trouble = lambda side, at: 0 if at else None
    with pytest.raises(ValueError, match=r"^pass1 of base measured nothing: see .*base\.pass1\.log$"):
        measure(fake)


def test_ctrl_c_leaves_no_worktree(measure):
    fake = Fake()

    def interrupt(side, at):
        if at == 1:
            raise KeyboardInterrupt

    fake.trouble = interrupt
    with pytest.raises(KeyboardInterrupt):
        measure(fake)


def test_what_is_not_committed_is_not_silently_left_out(measure, clone):
    (clone.path / "untracked").write_text("of no commit's")
    (clone.path / "side").write_text("changed")
    (clone.path / "kvgpt" / "__init__.py").unlink()
    fake = Fake()
    with pytest.raises(ValueError, match="commit or stash: 2 files would not be measured as they are"):
        measure(fake)
    assert fake.calls == []
    clone.git("checkout", "--quiet", ".")
    measure(fake)
    assert fake.counts == {"base": 2, "head": 2}


def test_commits_that_require_other_packages_are_refused(measure, clone):
    clone.commit({"pyproject.toml": PYPROJECT.replace("torch>=2", "torch>=3")})
    fake = Fake()
    with pytest.raises(ValueError, match=r"and HEAD do not require the same of torch, .*--kvgpt-repeats"):
        measure(fake)
    assert fake.calls == []
    clone.commit({"pyproject.toml": "[project"})
    with pytest.raises(ValueError, match=r"pyproject\.toml: not TOML"):
        measure(fake)


def test_requirements_are_compared_by_package():
    optional = '[project.optional-dependencies]\npeers = ["transformers>=5"]\n'
    assert differences(PYPROJECT, PYPROJECT.replace("torch>=2", "torch  >= 2") + "[tool.x]\ny = 1\n") == []
    assert differences(PYPROJECT, PYPROJECT + optional) == ["transformers"]
    assert differences(PYPROJECT, PYPROJECT.replace("3.11", "3.12").replace(', "numpy"', "")) == ["numpy", "python"]
    assert differences("", "") == [] and differences("", PYPROJECT) == ["numpy", "python", "torch"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"base": "nowhere"}, "'nowhere': no commit of .*name a branch, a tag or an id"),
        ({"base": ""}, "'': no commit of"),
        ({"base": "--all"}, "'--all': a commit's name does not begin with '-'"),
        ({"base": "HEAD:side"}, "'HEAD:side': no commit of"),
        ({"passes": 0}, "passes=0: at least 1 of each commit"),
        ({"arguments": ["-q", "--kvgpt-repeats", "3"]}, "--kvgpt-repeats: it is set for each pass"),
        ({"arguments": ["--benchmark-json=x.json"]}, r"--benchmark-json=x\.json: it is set for each pass"),
        ({"arguments": ["--kvgpt-resume"]}, "--kvgpt-resume: it is set for each pass"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(measure, tmp_path, asked, message):
    fake = Fake()
    with pytest.raises(ValueError, match=message):
        measure(fake, **asked)
    assert fake.calls == [] and not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_as_it_is(measure, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "base.json").write_text("of yesterday")
    with pytest.raises(ValueError, match=r"out: not empty: .*: name another folder"):
        measure(Fake())
    assert (tmp_path / "out" / "base.json").read_text() == "of yesterday"


def test_a_folder_of_the_repository_will_do_and_one_outside_of_any_will_not(measure, clone, tmp_path, monkeypatch):
    monkeypatch.chdir(clone.path / "kvgpt")
    measure(Fake(), folder=Path("results/ab"))
    assert (clone.path / "kvgpt" / "results" / "ab" / "head.json").exists()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "bare")
    with pytest.raises(ValueError, match=r"bare: no git repository \(fatal: not a git repository.*run this in a clone"):
        measure(Fake(), folder=tmp_path / "other")


def test_it_measures_on_until_the_results_are_enough_but_not_for_ever(clone, tmp_path):
    looks = []

    def enough(*files):
        looks.append([len(recorded.read(one).cases[0].metrics["per_token_latency"]["processes"]) for one in files])
        return len(looks) == 2

    fake = Fake()
    commits.measure("HEAD~1", (), 2, tmp_path / "out", lambda said: None, fake, enough, most=3)
    assert looks == [[2, 2], [4, 4]] and fake.counts == {"base": 4, "head": 4}
    again = Fake()
    commits.measure("HEAD~1", (), 1, tmp_path / "more", lambda said: None, again, lambda *files: False, most=3)
    assert again.counts == {"base": 3, "head": 3}


def test_a_commit_can_be_compared_with_itself(measure):
    fake = Fake()
    base, head = measure(fake, passes=1, base="HEAD")
    assert [side for side, _ in fake.passes()] == ["head", "head"], "files of one commit, in two folders"
    assert len({directory for _, _, directory, _ in fake.calls}) == 2 and base.exists() and head.exists()


def test_for_real_the_files_of_each_commit_are_what_runs(clone, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # pytest-benchmark times nothing in a worker
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # it would look for the files of commits that are gone
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a process starts three times as fast
    unneeded = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(Path(kvgpt.__file__).parent, clone.path / "kvgpt", ignore=unneeded, dirs_exist_ok=True)
    init = (clone.path / "kvgpt" / "__init__.py").read_text()
    bench = "import kvgpt\n" + BENCH.replace("0.00123, samples=benchmark.stats.stats.data", "kvgpt.SECONDS")
    clone.commit({"pytest.ini": INI, "benchmarks/conftest.py": CONFTEST, "benchmarks/bench_it.py": bench})
    clone.commit({"benchmarks/device": "a CPU", ".gitignore": "ran\n__pycache__\n"})
    for seconds in (0.25, 0.5):
        clone.commit({"kvgpt/__init__.py": f"{init}\nSECONDS = {seconds}\n"})
    said = []
    found = commits.measure("HEAD~1", ["-k", "8-v1"], 1, tmp_path / "out", said.append)
    for path, ref, seconds in zip(found, ("HEAD~1", "HEAD"), (0.25, 0.5), strict=True):
        (case,) = recorded.read(path).cases
        assert case.name == "benchmarks/bench_it.py::bench_latency[8-v1]"
        assert case.value("per_token_latency") == seconds
        about = json.loads(path.read_text())["commit_info"]
        assert about["id"] == clone.git("rev-parse", ref).strip() and about["dirty"] is False
        assert "1 passed" in path.with_name(f"{path.stem}.pass1.log").read_text()
    assert {line.partition(":")[0] for line in said[1:-1]} == {
        "base 1/1 [1/1] latency v1 T=8 B=1",
        "head 1/1 [1/1] latency v1 T=8 B=1",
    }
    assert said[-1].startswith("base and head 1/1 took ")
