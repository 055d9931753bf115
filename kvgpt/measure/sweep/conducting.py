"""Conducting a sweep: workers are started, those that died are told from those that ended, and what the dead leave is
given to the living, until nothing is left.

Some workers are started here, and others perhaps on other machines, which share nothing but the ledger.
"""

import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kvgpt.measure import child
from kvgpt.measure.progress import LINE
from kvgpt.measure.sweep.ledger import Ledger, Run
from kvgpt.measure.sweep.plan import Plan

ENDED = (0, 1, 5)  # exit codes of pytest: all passed, some failed, others were faster and none was left
REASONS = {2: "interrupted", 3: "an error inside pytest", 4: "pytest refused its arguments"}
POLL = 5.0  # s between two looks at what workers elsewhere do
PLUG_IN = ("-p", "kvgpt.measure.sweep.worker")


@dataclass(frozen=True)
class Place:
    """Where a worker runs: what it sees of the machine."""

    environment: Mapping[str, str] | None = None
    cores: tuple[int, ...] = ()


@dataclass
class Conductor:
    """Runs the workers in ``places``, by their numbers, with ``arguments`` for pytest; ``say`` gets the lines."""

    plan: Plan
    ledger: Ledger
    places: Mapping[int, Place]
    arguments: Sequence[str]
    say: Callable[[str], object]
    directory: Path = field(default_factory=Path.cwd)
    sleep: Callable[[float], object] = time.sleep

    def run(self) -> None:
        """Until each group is settled. ValueError where all workers of this process have died before.

        After Ctrl-C all have ended, and what they measured is on disk.
        """
        living = sorted(self.places)
        while living and not self._all_settled():
            self.ledger.bury()
            free = [number for number, one in enumerate(self.plan.groups) if self.ledger.is_free(number, one)]
            unfinished = [worker for worker in living if self._unfinished(worker)]
            if free or unfinished:
                chosen = sorted({*unfinished, *living[: len(free)]})
                dead = self._start(chosen)
                living = [worker for worker in living if worker not in dead]
            else:
                self.sleep(POLL)  # workers elsewhere are at work: one may die
        if not self._all_settled():
            raise ValueError(
                f"all {len(self.places)} workers died: the logs are in {self.ledger.folder}; --resume goes on"
            )

    def _all_settled(self) -> bool:
        return all(self.ledger.is_settled(number, one) for number, one in enumerate(self.plan.groups))

    def _unfinished(self, worker: int) -> Run | None:
        """The last run of a worker, where that was interrupted."""
        run = self.ledger.last_run(worker)
        return run if run and not self.ledger.has_ended(run) else None

    def _start(self, workers: Sequence[int]) -> set[int]:
        """A run of each worker, all at once, until all have ended; which of them died."""
        dead: set[int] = set()
        with ExitStack() as stack:
            commands = []
            for worker in workers:
                run, goes_on = self._next(worker)
                log = stack.enter_context(self.ledger.file(run, "log").open("ab"))
                ended = partial(self._ended, run, dead)
                place = self.places[worker]
                words = [sys.executable, "-m", "pytest", *self._words(run, place, goes_on)]
                watch = partial(self._relay, worker)
                commands.append(child.Command(words, self.directory, log, watch, place.environment, ended=ended))
            child.run(*commands)
        return dead

    def _next(self, worker: int) -> tuple[Run, bool]:
        """The run of a worker that is to begin, or to go on."""
        unfinished = self._unfinished(worker)
        if unfinished:
            self.ledger.file(unfinished, "died").unlink(missing_ok=True)
            return unfinished, True
        last = self.ledger.last_run(worker)
        return Run(worker, last.number + 1 if last else 1), False

    def _words(self, run: Run, place: Place, goes_on: bool) -> list[str]:
        own = [*PLUG_IN, f"--kvgpt-sweep={self.ledger.folder}", f"--kvgpt-run={run}"]
        own += [f"--benchmark-json={self.ledger.file(run, 'json')}"]
        own += [f"--kvgpt-cores={','.join(map(str, place.cores))}"] if place.cores else []
        return with_own(self.arguments, [*own, *(["--kvgpt-resume"] if goes_on else [])])

    def _relay(self, worker: int, line: str) -> None:
        if re.match(rf"(pass \d+/\d+ )?{LINE}", line):
            self.say(f"worker {worker} {line}")

    def _ended(self, run: Run, dead: set[int], code: int) -> None:
        """Once a run's process is no more."""
        if code in ENDED and self.ledger.file(run, "closed").exists():
            self.ledger.file(run, "ended").write_text(f"{code}\n", "ascii")
            return
        log = self.ledger.file(run, "log")
        reason = f"{why(code)}{', before its last case' if code in ENDED else ''}: see {log}"
        self.ledger.file(run, "died").write_text(f"{reason}\n", "utf-8")
        dead.add(run.worker)
        self.say(f"worker {run.worker} died: {reason}{_last_words(log)}")


def with_own(arguments: Sequence[str], own: Sequence[str]) -> list[str]:
    """All of ``benchmarks`` unless ``arguments`` name files, and options of one's own: of two alike the last counts."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return ["-o", "testpaths=benchmarks", *arguments[:end], *own, *arguments[end:]]


def why(code: int) -> str:
    """What an exit code says of how a process ended."""
    if code >= 0:
        return REASONS.get(code, f"exit code {code}")
    name = signal.Signals(-code).name
    return f"killed by {name}" + (", as by a system that is out of memory" if name == "SIGKILL" else "")


def _last_words(log: Path) -> str:
    """The last line that a process printed, where there is one."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return f"\n  its last line: {lines[-1]:.300}" if lines else ""
