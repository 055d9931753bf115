"""Bugs planted on purpose: what each is, after which real one, and the promise that must break."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvgpt.conformance import Subject


@dataclass(frozen=True)
class Bug:
    """``part`` takes the place of that field of a Subject whose cache is ``cache``."""

    thing: Any
    after: str
    promise: str
    part: str = "cache"
    cache: str = "v1"
    dtype: str = "float64"

    @property
    def name(self) -> str:
        return self.thing.__name__

    @property
    def subject(self) -> Subject:
        return Subject(**{"cache": self.cache, "dtype": self.dtype, self.part: self.thing})


BUGS: list[Bug] = []


def planted(after: str, *promises: str, **where: str) -> Callable[[Any], Any]:
    """Enter a class or function as a bug that each of these promises must catch."""

    def enter(thing: Any) -> Any:
        BUGS.extend(Bug(thing, after, promise, **where) for promise in promises)
        return thing

    return enter
