"""One of two commits that are compared: a folder with its files, and pytest run there with its own kvgpt."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from kvgpt.measure.folding import fold_files
from kvgpt.measure.repository import without_pointers

WHERE = "import kvgpt; print(kvgpt.__file__)"
BACKWARDS = ("-p", "kvgpt.measure.backwards")


class Run(Protocol):
    """As :func:`kvgpt.measure.child.run`."""

    def __call__(
        self,
        command: Sequence[str],
        directory: Path,
        log: IO[bytes],
        watch: Callable[[str], object],
        environment: Mapping[str, str] | None = None,
    ) -> int: ...


@dataclass(frozen=True)
class Side:
    """``tree`` has the commit's files, ``arguments`` go to pytest, ``folder`` keeps results and logs."""

    name: str
    tree: Path
    arguments: tuple[str, ...]
    folder: Path
    run: Run

    def prepare(self) -> None:
        """See that its own kvgpt is measured, and compile it: the first pass must not be the slower for it.

        ValueError where it is another kvgpt's turn, or where pytest does not take the arguments.
        """
        said = list[str]()
        self._run([sys.executable, "-c", WHERE], "import", said.append)
        found = said[-1] if said else "nowhere"
        if not Path(found).resolve().is_relative_to(self.tree):
            raise ValueError(
                f"{self.name}: kvgpt is imported from {found}, not from this commit's files: commits are compared that "
                "have the package at the top of the repository"
            )
        self._run(self._pytest("--collect-only", "--quiet", *BACKWARDS), "collection")

    def measure(self, number: int, watch: Callable[[str], object]) -> None:
        """One pass, every second one backwards. ValueError where it fails, or measures nothing."""
        order = () if number % 2 else BACKWARDS
        self._run(self._pytest(f"--benchmark-json={self._json(number)}", *order), f"pass{number}", watch)
        if not self._json(number).is_file():
            raise ValueError(f"pass{number} of {self.name} measured nothing: see {self._log(f'pass{number}')}")

    def fold(self, passes: int) -> Path:
        """All passes as one results file."""
        results = self.folder / f"{self.name}.json"
        fold_files([self._json(number) for number in range(1, passes + 1)], results)
        return results

    def _pytest(self, *own: str) -> list[str]:
        """All of ``benchmarks``, unless the arguments name files."""
        return [
            *(sys.executable, "-m", "pytest", "-o", "testpaths=benchmarks", "--kvgpt-repeats=1"),
            *own,
            *self.arguments,
        ]

    def _run(self, command: Sequence[str], what: str, watch: Callable[[str], object] = lambda line: None) -> None:
        inherited = os.environ.get("PYTHONPATH")
        paths = [str(self.tree), *([inherited] if inherited else [])]
        environment = {**without_pointers(), "PYTHONPATH": os.pathsep.join(paths)}
        with self._log(what).open("wb") as log:
            code = self.run(command, self.tree, log, watch, environment)
        if code:
            raise ValueError(f"{what} of {self.name} ended with exit code {code}: see {self._log(what)}")

    def _json(self, number: int) -> Path:
        return self.folder / f"{self.name}.pass{number}.json"

    def _log(self, what: str) -> Path:
        return self.folder / f"{self.name}.{what}.log"
