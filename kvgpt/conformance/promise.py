"""Promise: one property of a cache, what it proves, what it needs, and the proof itself."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase

from kvgpt.conformance import strategies
from kvgpt.conformance.subject import Stage, Subject

EXAMPLES = 40  # of each promise, unless told


class Broken(AssertionError):
    """A promise that is not kept: which one, what happened, on which smallest input, and how to see it again."""


@dataclass(frozen=True)
class Promise:
    """``check(stage, ...)`` asserts it for one input; calling the promise proves it over many.

    ``needs`` are the words of :attr:`Subject.abilities` without which a cache is not asked; ``past`` says that its
    scenes go past the learned positions, by every policy.
    """

    code: str
    sentence: str
    needs: frozenset[str]
    check: Callable[..., None]
    past: bool = False

    @property
    def name(self) -> str:
        """Such as ``A1-chunks``."""
        return f"{self.code}-{self.check.__name__.replace('_', '-')}"

    @property
    def inputs(self) -> list[str]:
        """The names of what is drawn; a check of one ``Subject`` alone has no scene."""
        first, *others = inspect.signature(self.check).parameters
        return ["scene", *others] if first == "stage" else others

    def on(self, subject: Subject, **inputs: Any) -> None:
        """Check one input."""
        if "scene" not in self.inputs:
            self.check(subject, **inputs)
            return
        stage = Stage(subject, inputs.pop("scene"))
        with stage.on_its_path():
            self.check(stage, **inputs)

    def __call__(
        self, subject: Subject, examples: int = EXAMPLES, seed: int | None = None, shrink: bool = True
    ) -> None:
        """Draw ``examples`` inputs, a quarter in a dtype lower than float64, since that has proven what is meant.

        They are the same in every run unless a ``seed`` is given. Raises :class:`Broken`.
        """
        last: dict[str, Any] = {}

        @hypothesis.settings(
            max_examples=examples if "float64" in subject.abilities else max(1, examples // 4),
            deadline=None,
            database=None,
            derandomize=seed is None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(
            strategies.inputs(self.inputs, subject.abilities, subject.sharings, self.past, subject.least_room)
        )
        def prove(inputs: dict[str, Any]) -> None:
            last.clear()
            last.update(inputs)
            self.on(subject, **inputs)

        if seed is not None:
            prove = hypothesis.seed(seed)(prove)
        try:
            prove()
        except Exception as error:  # whatever a stranger's cache raises breaks the promise
            raise Broken(self._story(subject, last, error)) from error

    def _story(self, subject: Subject, inputs: dict[str, Any], error: Exception) -> str:
        happened = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        drawn = ", ".join(f"{name}={value!r}" for name, value in inputs.items())
        kinds = sorted({type(one).__name__ for value in inputs.values() for one in _parts(value)} & {"Scene", "Op"})
        snippet = [
            f"from kvgpt.conformance import {', '.join([*kinds, 'again'])}",
            f"again({self.name!r}, {subject.name!r}, {subject.dtype!r}, {drawn})",
        ]
        return "\n".join(
            [
                f"{self.name}: {subject.name} breaks a promise in {subject.dtype} on {subject.device}",
                f"  promised:  {self.sentence}",
                f"  happened:  {happened}",
                f"  smallest:  {drawn or 'any input'}",
                "  see again:",
                textwrap.indent("\n".join(snippet), " " * 6),
            ]
        )


PROMISES: dict[str, Promise] = {}


def promise(code: str, sentence: str, *needs: str, past: bool = False) -> Callable[[Callable[..., None]], Promise]:
    """Enter a check in :data:`PROMISES`; its further arguments are drawn by their names, see ``strategies.INPUTS``."""

    def enter(check: Callable[..., None]) -> Promise:
        made = Promise(code, sentence, frozenset(needs), check, past)
        PROMISES[made.name] = made
        return made

    return enter


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
