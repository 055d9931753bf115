"""The ledger of a sweep: who has which group, and who is there, in files of one folder that all workers see.

A group is claimed by creating a file that nobody else has created: a hard link, which is atomic on NFS too. Claims are
numbered: who holds the last one has the group. It is free where nobody has claimed it, or where its holder is dead and
left it unfinished; then the next number is claimed, and what the dead one measured of it does not count.

A run is dead where whoever started it saw it die, and said so in a file, or where its heartbeat has stood still for
:data:`SILENCE`: as long as the reader has watched by a clock of its own, since the clocks of two machines differ.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from kvgpt import journal, recorded, strict_json
from kvgpt.measure.sweep.plan import Group, Plan

BEAT = 5.0  # s between two heartbeats
SILENCE = 60.0  # s without one, after which a run is taken for dead


@dataclass(frozen=True, order=True)
class Run:
    """One pytest process of a worker, or the passes of one: a worker that takes over what others left has several."""

    worker: int
    number: int

    def __str__(self) -> str:
        return f"worker{self.worker}.run{self.number}"

    @staticmethod
    def parse(name: str) -> "Run":
        """ValueError where it is none."""
        found = re.fullmatch(r"worker([0-9]{1,6})\.run([0-9]{1,6})", name)
        if not found:
            raise ValueError(f"{name!r:.80}: expected a run, such as worker1.run1")
        return Run(int(found[1]), int(found[2]))


class Ledger:
    """The files of a sweep, read and written. ``clock`` says what time has passed, in s."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self._heard: dict[Run, tuple[str, float]] = {}  # the last beat, and when it was first seen
        self._measured: dict[Path, tuple[tuple[int, int], frozenset[str]]] = {}  # by file: as of which state of it

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    def file(self, run: Run, what: str) -> Path:
        """Of a run: its ``json``, ``log``, ``opening.json``, ``beat``, ``closed``, ``ended`` or ``died``."""
        return self.folder / f"{run}.{what}"

    def runs(self) -> list[Run]:
        """Those that have begun, in order."""
        return sorted(Run.parse(path.name.removesuffix(".beat")) for path in self.folder.glob("worker*.run*.beat"))

    def last_run(self, worker: int) -> Run | None:
        return max((run for run in self.runs() if run.worker == worker), default=None)

    def holder(self, number: int) -> Run | None:
        """Who has a group, by its number in the plan."""
        return self._last_claim(number)[1]

    def held(self, groups: Sequence[Group]) -> list[tuple[Group, Run]]:
        """The groups that somebody has, and who."""
        found = [(group, self.holder(number)) for number, group in enumerate(groups)]
        return [(group, run) for group, run in found if run is not None]

    def is_free(self, number: int, group: Group) -> bool:
        return self._is_left(group, self.holder(number))

    def _is_left(self, group: Group, run: Run | None) -> bool:
        """Whether a group that ``run`` has is anybody's: nobody's so far, or left unfinished."""
        return run is None or (self.is_dead(run) and not self.is_complete(group, run))

    def is_settled(self, number: int, group: Group) -> bool:
        """Whether nothing more is to come of a group: its holder has ended, or died after its last case."""
        run = self.holder(number)
        return run is not None and (self.has_ended(run) or (self.is_dead(run) and self.is_complete(group, run)))

    def take(self, number: int, group: Group, run: Run) -> bool:
        """Claim a group for ``run``; whether it was free, and nobody was faster."""
        generation, holder = self._last_claim(number)  # read once: a claim made since then is one too many
        return self._is_left(group, holder) and self._create(self._claim(number, generation + 1), str(run))

    def take_merge(self) -> bool:
        """Whether the caller is the one to write the results of all, as they are after so many runs."""
        return self._create(self.folder / "claims" / f"merge.{len(self.runs())}", "")

    def begin(self, plan: Plan) -> None:
        """Write the plan, unless somebody else has."""
        (self.folder / "claims").mkdir(parents=True, exist_ok=True)
        self._create(self.plan, plan.text())

    def has_ended(self, run: Run) -> bool:
        return self.file(run, "ended").exists()

    def is_dead(self, run: Run) -> bool:
        if self.file(run, "died").exists():
            return True
        if self.has_ended(run):
            return False
        beat = _text(self.file(run, "beat"))
        if self._heard.get(run, ("", 0.0))[0] != beat or run not in self._heard:
            self._heard[run] = (beat, self.clock())
        return self.clock() - self._heard[run][1] > SILENCE

    def bury(self) -> None:
        """Tell everybody which runs went silent: a worker that is about to begin has not listened for long enough."""
        for run in self.runs():
            died = self.file(run, "died")
            if self.is_dead(run) and not died.exists():
                died.write_text(f"silent for more than {SILENCE:g} s\n", "utf-8")

    def is_complete(self, group: Group, run: Run) -> bool:
        """Whether a run has measured all cases of a group, and as often as it was to."""
        return self.measured(run).issuperset(group.cases)

    def measured(self, run: Run) -> frozenset[str]:
        """The names of the cases that a run has on disk."""
        results = self.file(run, "json")
        paths = [path for path in (results, journal.beside(results)) if path.is_file()]
        return frozenset().union(*map(self._names, paths))

    def document(self, run: Run) -> dict[str, Any]:
        """What a run has on disk, as pytest-benchmark's JSON: its results file, or of one cut short its journal."""
        results = self.file(run, "json")
        path = journal.beside(results)
        found = journal.read(path) if path.is_file() else None
        if found is None or not journal.lacks(results, found.entries.values()):
            return strict_json.read(results, recorded.LARGEST_FILE, "a results file")
        return {**self.opening(run), "benchmarks": list(found.entries.values())}

    def opening(self, run: Run) -> dict[str, Any]:
        """What a run said before its first case, as pytest-benchmark's JSON."""
        return strict_json.read(self.file(run, "opening.json"), recorded.LARGEST_FILE, "the opening of a run")

    def _names(self, path: Path) -> frozenset[str]:
        """Read again only where the file has grown."""
        state = (path.stat().st_mtime_ns, path.stat().st_size)
        if self._measured.get(path, (None,))[0] != state:
            self._measured[path] = (state, frozenset(_names(path)))
        return self._measured[path][1]

    def _last_claim(self, number: int) -> tuple[int, Run | None]:
        last: tuple[int, Run | None] = (0, None)
        for generation in count(1):
            path = self._claim(number, generation)
            try:
                last = (generation, Run.parse(path.read_text("ascii")))
            except FileNotFoundError:
                return last
            except ValueError as error:
                raise ValueError(f"{path}: {error}: delete it") from error
        return last

    def _claim(self, number: int, generation: int) -> Path:
        return self.folder / "claims" / f"{number}.{generation}"

    def _create(self, path: Path, content: str) -> bool:
        """A file that nobody else has made, with all that it says; whether it was not there yet."""
        own = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.{threading.get_ident()}")
        own.write_text(content, "utf-8")
        try:
            os.link(own, path)
        except FileExistsError:
            return False
        finally:
            own.unlink()
        return True


class Heart:
    """Says that a run is alive, and in which case, until it is told to stop: a short write every :data:`BEAT`."""

    def __init__(self, path: Path) -> None:
        self.path, self.case = path, ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="kvgpt-heart", daemon=True)

    def start(self) -> None:
        """OSError where the folder cannot be written."""
        self.say()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def say(self) -> None:
        self.path.write_text(f"{time.time():.3f} {self.case}", "utf-8")

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT):
            with suppress(OSError):  # a full disk ends the run where it journals
                self.say()


def _names(path: Path) -> Mapping[str, Any] | list[str]:
    if path.name.endswith(journal.SUFFIX):
        found = journal.read(path)
        return found.entries if found else {}
    made = strict_json.read(path, recorded.LARGEST_FILE, "a results file")
    return [str(entry["fullname"]) for entry in made["benchmarks"]]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
