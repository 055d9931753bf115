"""One of two commits that are compared: a folder with its files, and pytest run there with its own kvgpt."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvgpt.measure import turns
from kvgpt.measure.child import Command
from kvgpt.measure.folding import fold_files
from kvgpt.measure.repository import without_pointers

WHERE = "import kvgpt; print(kvgpt.__file__)"
BACKWARDS = (("-p", "kvgpt.measure.backwards"), ())
Run = Callable[..., list[int]]  # as :func:`kvgpt.measure.child.run`
Watch = Callable[[str], object]


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
        self._run(self._pytest("--collect-only", "--quiet", *BACKWARDS[0]), "collection")

    @property
    def takes_turns(self) -> bool:
        """Whether this commit's kvgpt knows how to."""
        return (self.tree / "kvgpt" / "measure" / "turns.py").is_file()

    def command(self, number: int, log: IO[bytes], watch: Watch) -> Command:
        """One pass, every second one backwards."""
        return self._command(self._pytest(f"--benchmark-json={self._json(number)}", *BACKWARDS[number % 2]), log, watch)

    def ended(self, number: int, code: int) -> None:
        """ValueError where a pass has failed, or measured nothing."""
        self._ended(f"pass{number}", code)
        if not self._json(number).is_file():
            raise ValueError(f"pass{number} of {self.name} measured nothing: see {self.log(f'pass{number}')}")

    def fold(self, passes: int) -> Path:
        """All passes as one results file."""
        results = self.folder / f"{self.name}.json"
        fold_files([self._json(number) for number in range(1, passes + 1)], results)
        return results

    def log(self, what: str) -> Path:
        """Where it is kept what pytest printed."""
        return self.folder / f"{self.name}.{what}.log"

    def _pytest(self, *own: str) -> list[str]:
        """All of ``benchmarks``, unless the arguments name files."""
        return [
            *(sys.executable, "-m", "pytest", "-o", "testpaths=benchmarks", "--kvgpt-repeats=1"),
            *own,
            *self.arguments,
        ]

    def _run(self, words: Sequence[str], what: str, watch: Watch = lambda line: None) -> None:
        with self.log(what).open("wb") as log:
            (code,) = self.run(self._command(words, log, watch))
        self._ended(what, code)

    def _command(self, words: Sequence[str], log: IO[bytes], watch: Watch) -> Command:
        inherited = os.environ.get("PYTHONPATH")
        paths = [str(self.tree), *([inherited] if inherited else [])]
        environment = {**without_pointers(), "PYTHONPATH": os.pathsep.join(paths)}
        return Command(words, self.tree, log, watch, environment)

    def _ended(self, what: str, code: int) -> None:
        if code:
            raise ValueError(f"{what} of {self.name} ended with exit code {code}: see {self.log(what)}")

    def _json(self, number: int) -> Path:
        return self.folder / f"{self.name}.pass{number}.json"


def measure(sides: Sequence[Side], number: int, watches: Sequence[Watch]) -> None:
    """One pass of one, or of two at once, which take turns: the first begins.

    ValueError where one fails, or measures nothing.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(side.log(f"pass{number}").open("wb")) for side in sides]
        commands = list(map(Side.command, sides, [number] * len(sides), logs, watches))
        if len(sides) > 1:
            commands = turns.joined(*commands)
        codes = sides[0].run(*commands)
    for side, code in zip(sides, codes, strict=True):
        side.ended(number, code)
