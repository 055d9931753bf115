"""Passes: ``--kvgpt-repeats N`` runs N fresh processes one after another, every second one backwards, and folds them.

What differs between processes (memory layout, clocks, neighbours) does not show within one. The parent measures none.
A case that met a slower machine in one pass than in others, as its pulses tell, is measured again, whatever it took;
of what was measured more than once, the one with the calmest pulses counts.
"""

import re
import shutil
import sys
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pytest

from kvgpt import journal, pulses
from kvgpt.measure import child, folding, turns
from kvgpt.measure.folding import entries_of, fold, fold_files
from kvgpt.measure.progress import LINE, Progress
from kvgpt.measure.recorder import Recorder
from kvgpt.options import SETTINGS
from kvgpt.pulses import LIMIT

AGAIN = 2  # times the passes, of processes that measure what met a slower machine: then it is the machine that there is


def register(config: pytest.Config) -> None:
    """The plug-ins of a run: one that measures and records, or one that starts such runs, where they are timed."""
    chosen = config.stash[SETTINGS]
    if chosen.repeats > 1 and is_timed(config):
        results = config.getoption("benchmark_json")
        if results is None:
            raise pytest.UsageError(
                "--kvgpt-repeats: passes are folded into a file: name one, --benchmark-json=OUT.json"
            )
        config.pluginmanager.register(Passes(config, results, chosen.repeats, chosen.resume), "kvgpt-passes")
        return
    if chosen.tensor_parallel == 1:
        turns.register(config)
    recorder = Recorder(config)
    config.pluginmanager.register(recorder, "kvgpt-recorder")
    config.pluginmanager.register(Progress(config, recorder), "kvgpt-progress")


def is_timed(config: pytest.Config) -> bool:
    """Whether pytest-benchmark times anything: not when disabled, and not where workers share the cases."""
    off, on, skip = (config.getoption(f"benchmark_{name}") for name in ("disable", "enable", "skip"))
    shared_out = config.getoption("dist", "no") != "no" or hasattr(config, "workerinput")
    return not (off and not on) and not skip and not shared_out and not config.option.collectonly


class Passes:
    """The parent: starts the passes, relays their lines, and writes what they found as one results file.

    Beside ``OUT.json`` stand ``OUT.json.passes/`` with each pass's own JSON and journal, and ``OUT.json.passN.log``.
    """

    def __init__(self, config: pytest.Config, results: Path, count: int, resume: bool) -> None:
        self.config, self.results, self.count, self.resume = config, results.absolute(), count, resume
        self.folder = self.results.with_name(f"{results.name}.passes")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        """Nothing to collect: the parent holds no model while its passes measure."""
        session: Any = self.config.pluginmanager.get_plugin("pytest-benchmark")
        session.json = None  # it would only warn that nothing was measured here
        try:
            journal.check_ended(self.results)
            if not self.resume:
                self._make_room()
            self.folder.mkdir(exist_ok=True)
        except (OSError, ValueError) as error:
            raise pytest.UsageError(str(error)) from error
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            for number in self._numbers():
                self._run(number, self.resume)
            self._run_slower_again()
            session.testscollected = self._fold()
        except (OSError, ValueError) as error:
            pytest.exit(f"{self.results}: {error}", returncode=pytest.ExitCode.TESTS_FAILED)
        self._say(f"{session.testscollected} cases of {self.count} passes are in {self.results}")
        return True

    def _make_room(self) -> None:
        """ValueError where passes of an earlier run are there that no results file holds."""
        found = [journal.read(path) for path in sorted(self.folder.glob(f"*{journal.SUFFIX}"))]
        lacking = journal.lacks(self.results, fold([one.entries for one in found if one is not None]))
        if lacking:
            held = f"{self.results.name} lacks {len(lacking)} cases that these passes hold"
            raise ValueError(f"{self.folder}: {held}: {journal.WAYS_OUT}")
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _run_slower_again(self) -> None:
        """Of the pass with most of them, time after time, in at most ``AGAIN`` times as many processes as passes."""
        for _ in range(AGAIN * self.count):
            passes = [entries_of(self._json(number)) for number in self._numbers()]
            slower = [[name for name, times in one.items() if times > LIMIT] for one in pulses.of_passes(passes)]
            number, names = max(enumerate(slower, 1), key=lambda one: len(one[1]))
            if not names:
                return
            cases = "case" if len(names) == 1 else "cases"
            self._say(f"pass {number}/{self.count} met a slower machine in {len(names)} {cases}: measured again")
            before = passes[number - 1]
            journal.keep(self._json(number), [entry for name, entry in before.items() if name not in names])
            self._run(number, resume=True)
            after = entries_of(self._json(number))
            *of_before, slowness = pulses.of_passes([*passes, after])
            calmer = [name for name in names if of_before[number - 1][name] < slowness.get(name, inf)]
            kept = {**after, **{name: before[name] for name in calmer}}
            journal.keep(self._json(number), kept.values())
            folding.keep(self._json(number), kept.values())

    def _run(self, number: int, resume: bool) -> None:
        """One pass in a process of its own, or what its journal lacks of it. One that fails ends the run; after Ctrl-C,
        what it has is on disk.
        """
        command = [sys.executable, "-m", "pytest", *self._arguments(number, resume)]
        with self._log(number).open("ab" if resume else "wb") as log:
            (code,) = child.run(
                child.Command(command, self.config.invocation_params.dir, log, partial(self._relay, number))
            )
        if code:
            reason = f"pass {number} of {self.count} ended with exit code {code}: see {self._log(number)}"
            pytest.exit(reason, returncode=code if code > 0 else 128 - code)  # of a signal, as shells have it

    def _arguments(self, number: int, resume: bool) -> list[str]:
        """Those of this run, and after them those that are the pass's own: of what is given twice the last counts."""
        given = list(map(str, self.config.invocation_params.args))
        own = ["--kvgpt-repeats=1", f"--benchmark-json={self._json(number)}"]
        if resume and not self.resume:
            own.append("--kvgpt-resume")
        if number % 2 == 0:
            own += ["-p", "kvgpt.measure.backwards"]
        end = given.index("--") if "--" in given else len(given)
        return [*given[:end], *own, *given[end:]]

    def _relay(self, number: int, line: str) -> None:
        if re.match(LINE, line):
            self._say(f"pass {number}/{self.count} {line}")

    def _say(self, line: str) -> None:
        terminal: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.write_line(line)
            terminal.flush()

    def _fold(self) -> int:
        """Write the results file, whole or not at all; how many cases it has."""
        count = fold_files([self._json(number) for number in self._numbers()], self.results)
        journal.beside(self.results).unlink(missing_ok=True)
        return count

    def _numbers(self) -> range:
        return range(1, self.count + 1)

    def _json(self, number: int) -> Path:
        return self.folder / f"pass{number}.json"

    def _log(self, number: int) -> Path:
        return self.results.with_name(f"{self.results.name}.pass{number}.log")
