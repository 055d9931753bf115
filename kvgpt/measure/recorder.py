"""The recorder: a pytest plug-in that journals each case as it ends, resumes a run, and writes its JSON whole.

pytest-benchmark keeps its figures in memory and writes when the session ends. Here a case is on disk once it has
ended, and only a case that passed and has a record has ended.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.stats import Stats

from kvgpt import __version__, journal, strict_json
from kvgpt.measure import out_of_memory
from kvgpt.options import SETTINGS

NEXT = "make room and go on with --kvgpt-resume"


class Recorder:
    """One run's journal and JSON. Without ``--benchmark-json``, or where nothing is timed, it keeps nothing.

    A case that runs out of memory passes: that is its result, and its record says so.
    """

    def __init__(self, config: pytest.Config, clock: Callable[[], float] = time.perf_counter) -> None:
        self.config, self.clock = config, clock
        self.path: Path | None = config.getoption("benchmark_json", None)
        self.writer: journal.Writer | None = None
        self.machine_info: dict[str, Any] = {}
        self.order: list[str] = []  # the names of the cases, as collected
        self.asked: list[str] = []  # of those to be measured, also where one of them never ends
        self.entries: dict[str, dict[str, Any]] = {}  # what has ended, by name: of the journal, then of this session
        self.extra_info: dict[str, dict[str, Any]] = {}  # of this session's cases: judged again when the run ends
        self.resumed = 0  # how many of those collected are in the journal already
        self.passes = True  # whether the case in flight has passed so far
        self.failed_after: dict[str, float] = {}  # seconds until a case ran out of memory, by name

    @property
    def session(self) -> Any:
        """pytest-benchmark's own, a BenchmarkSession."""
        return self.config.pluginmanager.get_plugin("pytest-benchmark")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """After all others have left out what cannot run: leave out what was measured already."""
        resume = self.config.stash[SETTINGS].resume
        if resume and self.path is None:
            raise pytest.UsageError("--kvgpt-resume: there is no journal without --benchmark-json=OUT.json")
        if self.path is None or self.session.disabled or self.session.skip or self.config.option.collectonly:
            return
        self.session.json = None  # it writes in place: a run that ends while it does leaves half a file
        self.machine_info = self.session.get_machine_info()
        try:
            self._open(self.path, resume)
        except OSError as error:
            raise pytest.UsageError(f"{journal.beside(self.path)}: {error.strerror}") from error
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        self.order = [item.nodeid for item in items]
        self.asked = [item.nodeid for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        done = [item for item in items if item.nodeid in self.entries]
        if done:
            self.resumed = len(done)
            self.config.hook.pytest_deselected(items=done)
            items[:] = [item for item in items if item.nodeid not in self.entries]

    def pytest_report_collectionfinish(self) -> list[str]:
        return [f"resumed: {self.resumed} cases are in the journal already"] if self.entries else []

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        started = self.clock()
        try:
            return (yield)
        except Exception as error:
            case: Any = pyfuncitem.funcargs.get("case")
            reason = out_of_memory.reason(error)
            together = self.config.stash[SETTINGS].tensor_parallel > 1  # the other ranks are in the middle of the case
            if reason is None or case is None or self.session.disabled or together:
                raise
            seconds = self.clock() - started
        case.failed(reason)
        self.failed_after[pyfuncitem.nodeid] = seconds
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self.passes = report.passed and (report.when == "setup" or self.passes)
        if report.when == "teardown" and self.passes:
            self._keep(item)
        return report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if nodeid in self.failed_after:  # what the case was given is let go of by now
            out_of_memory.empty_caches()

    @pytest.hookimpl(tryfirst=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """What has ended and nothing else, in the order of collection; last what was not collected this time.

        Beside it, which cases were to be measured: what did not end is named in no other place.
        """
        if self.writer is not None:
            for name, extra_info in self.extra_info.items():
                self.entries[name]["extra_info"] = strict_json.plain(extra_info)
            names = dict.fromkeys([*self.order, *self.entries])
            output_json["benchmarks"] = [self.entries[name] for name in names if name in self.entries]
            output_json.setdefault("kvgpt", {})["cases"] = list(dict.fromkeys([*self.asked, *self.entries]))

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        if self.writer is not None and self.path is not None:
            self.session.benchmarks[:] = [one for one in self.session.benchmarks if one.fullname in self.entries]
            try:
                self._write(self.path)
            except OSError as error:
                session.shouldfail = f"{self.path}: {error.strerror}: its journal holds every case: {NEXT}"
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            else:
                if self.resumed and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
                    session.exitstatus = pytest.ExitCode.OK  # nothing was left to run
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        if self.writer is not None and exitstatus == pytest.ExitCode.INTERRUPTED:
            ended = sum(name in self.entries for name in self.order)
            terminalreporter.write_line(f"{ended} of {len(self.order)} cases have ended: go on with --kvgpt-resume")

    def pytest_unconfigure(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _open(self, path: Path, resume: bool) -> None:
        device = self.machine_info.get("kvgpt", {}).get("device", {})
        settings = {name: value for name, value in asdict(self.config.stash[SETTINGS]).items() if name != "resume"}
        opening = journal.header(settings, device, __version__)
        if resume:
            self.writer, entries = journal.resume(path, opening)
            self.entries = dict(entries)
        else:
            self.writer = journal.start(path, opening)

    def _keep(self, item: pytest.Item) -> None:
        benchmark = getattr(item, "funcargs", {}).get("benchmark")
        if self.writer is None or self.path is None or benchmark is None or "kvgpt" not in benchmark.extra_info:
            return
        seconds = self.failed_after.get(item.nodeid)
        if seconds is None and (benchmark.has_error or not benchmark.stats):
            return
        measured = benchmark.stats.as_dict(include_data=True) if seconds is None else _failed(benchmark, seconds)
        entry = strict_json.plain(measured)
        try:
            self.writer.append(entry)
        except OSError as error:
            item.session.shouldfail = f"{journal.beside(self.path)}: {error.strerror}: {item.nodeid} is lost: {NEXT}"
            self.writer.close()
            self.writer = None
        else:
            self.entries[item.nodeid], self.extra_info[item.nodeid] = entry, benchmark.extra_info

    def _write(self, path: Path) -> None:
        if not self.entries:
            self.session.logger.warning("Not saving anything, no case has ended.")
            return
        hook, config = self.config.hook, self.config
        commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
        hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
        benchmarks, about = self.session.benchmarks, {"machine_info": self.machine_info, "commit_info": commit_info}
        data = hook.pytest_benchmark_generate_json(config=config, benchmarks=benchmarks, include_data=True, **about)
        hook.pytest_benchmark_update_json(config=config, benchmarks=benchmarks, output_json=data)
        strict_json.write(path, data)
        self.session.logger.info(f"Wrote benchmark data in: {path}", purple=True)


def _failed(benchmark: Any, seconds: float) -> dict[str, Any]:
    """pytest-benchmark's entry of a case that ran out of memory: its only round took as long as it lasted."""
    stats = Stats()
    stats.update(seconds)
    about = {name: getattr(benchmark, name) for name in ("group", "name", "fullname", "params", "param", "extra_info")}
    return {**about, "options": {}, "stats": {**stats.as_dict(), "data": stats.data, "iterations": 1}}
