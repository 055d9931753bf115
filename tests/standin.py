"""A tiny project of benchmark cases that measure nothing, for what records, resumes and repeats runs.

Files in it say what goes wrong: ``trouble/NAME`` holds the case in which it does.
"""

import json

CONFTEST = '''
import os, signal
from pathlib import Path

import pytest

from kvgpt import record
from kvgpt.measure import passes

HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has background jobs ignore it
    passes.register(config)


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["kvgpt"] = {"device": {"kind": "cpu", "name": (HERE / "device").read_text(), "torch": "2.9"}}


MADE = []


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_sessionfinish():
    # As floors do, which are known at the end only.
    for record in MADE:
        if (HERE / "trouble" / "late").is_file():
            record["validity"] = {"ok": False, "notes": ["known at the end"]}
    return (yield)


class Case:
    def __init__(self, benchmark, variant):
        self.benchmark, self.variant = benchmark, variant

    def begin(self, family, **fields):
        self.family, self.fields = family, fields

    def pulse(self):
        """Seconds: what ``trouble/pulse`` says, the case and then one number each time that it is measured."""
        path = HERE / "trouble" / "pulse"
        *place, pulse, rest = path.read_text().split(maxsplit=3) if path.is_file() else ("", "", 1, "")
        if place != [self.variant, str(self.fields["new_tokens"])]:
            return 1.0
        path.write_text(" ".join([*place, rest]))
        return float(pulse)

    def end(self, metrics, notes=()):
        details = {"pulse": {"work": self.pulse()}}
        made = record.record(self.family, self.variant, self.variant, self.fields, metrics, notes, details)
        self.benchmark.extra_info["kvgpt"] = made
        MADE.append(made)

    def failed(self, reason):
        self.end({}, [reason])


@pytest.fixture
def case(benchmark, variant):
    return Case(benchmark, variant)


@pytest.fixture
def trouble(request, variant, new_tokens):
    """``trouble(name)``: whether this goes wrong in this case."""
    with (HERE / "ran").open("a") as file:
        print(request.node.nodeid, file=file)
    with (HERE / "cores").open("a") as file:
        print(*sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (), file=file)
    place = f"{variant} {new_tokens}"
    return lambda name: (HERE / "trouble" / name).is_file() and (HERE / "trouble" / name).read_text() == place


@pytest.fixture
def body(trouble):
    rounds = []

    def run():
        rounds.append(1)
        if trouble("memory"):
            raise MemoryError("cannot take 9 bytes")
        if len(rounds) == 2 and trouble("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if len(rounds) == 2 and trouble("kill once"):
            (HERE / "trouble" / "kill once").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if len(rounds) == 2 and trouble("interrupt"):
            os.kill(os.getpid(), signal.SIGINT)
        if len(rounds) == 2 and trouble("parent terminated"):
            os.kill(os.getppid(), signal.SIGTERM)
            signal.pause()
        if len(rounds) == 2 and trouble("parent"):
            os.kill(os.getppid(), signal.SIGINT)
            signal.pause()

    return run
'''

BENCH = """
import pytest

from kvgpt.record import metric


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("new_tokens", [8, 16])
def bench_latency(benchmark, case, body, trouble, variant, new_tokens):
    case.begin("latency", new_tokens=new_tokens, batch_size=1)
    benchmark.pedantic(body, rounds=3)
    if benchmark.stats and not trouble("record"):
        case.end({"per_token_latency": metric("per_token_latency", 0.00123, samples=benchmark.stats.stats.data)})
    assert not trouble("assertion")
"""

INI = """
[pytest]
addopts = -p pytest_benchmark.plugin -p kvgpt.options -p no:cacheprovider
python_files = bench_*.py
python_functions = bench_*
"""

CASES = [f"bench_it.py::bench_latency[{tokens}-{variant}]" for tokens in (8, 16) for variant in ("v1", "v2")]


class Project:
    """The project in ``pytester``'s folder, and what its runs leave there."""

    def __init__(self, pytester, monkeypatch):
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # pytest-benchmark times nothing in a worker
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a process starts three times as fast
        self.pytester, self.path = pytester, pytester.path
        self.out = self.path / "out.json"
        self.journal = self.path / "out.json.journal.jsonl"
        pytester.makeconftest(CONFTEST)
        pytester.makefile(".ini", pytest=INI)
        pytester.makepyfile(bench_it=BENCH)
        (self.path / "device").write_text("a CPU")
        (self.path / "trouble").mkdir()

    def run(self, *arguments, fresh_process=False):
        """A run of the project's benchmarks that writes ``out.json``."""
        start = self.pytester.runpytest_subprocess if fresh_process else self.pytester.runpytest_inprocess
        return start(f"--benchmark-json={self.out}", *arguments)

    def trouble(self, name, place):
        (self.path / "trouble" / name).write_text(place)

    def calm(self):
        for path in (self.path / "trouble").iterdir():
            path.unlink()

    def ran(self):
        """The cases that ran since this was asked last."""
        path = self.path / "ran"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    def entries(self):
        return json.loads(self.out.read_text())["benchmarks"]

    def names(self):
        return [entry["fullname"] for entry in self.entries()]

    def asked(self):
        """The names of the cases that the run was to measure, as its JSON has them."""
        return json.loads(self.out.read_text())["kvgpt"]["cases"]

    def journaled(self):
        """The names in the journal, each line whole."""
        header, *entries = [json.loads(line) for line in self.journal.read_text().splitlines()]
        assert header["schema"] == 1 and self.journal.read_bytes().endswith(b"\n")
        return [entry["fullname"] for entry in entries]
