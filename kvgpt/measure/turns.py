"""Two processes that measure the same cases in turns of a moment: while one works, the other waits.

A machine that is shared is slow for tenths of a second, or for seconds. Two processes measured one after the other
differ by that; two whose rounds alternate meet the same moments, and their ratio is that of the code.

They talk over a socket, a line of JSON a turn: the case that a process is in, whether it wants more rounds of it, and
the processor time that it has had. Who has read a line holds the turn until it writes one.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

from kvgpt.measure.child import Command
from kvgpt.options import SETTINGS

CHANNEL = "KVGPT_TURNS"  # environment: "first:N" or "second:N", N the socket's descriptor
LONGEST = 0.02  # s of a turn, unless one round takes longer
NAME = "kvgpt-turns"


class Turn(Protocol):
    """What a case asks between its rounds."""

    span: float  # s that rounds cover at least
    waited: float  # s that others had

    def rest(self) -> None:
        """Before a round: let the other process work, where this one has for long enough."""

    def again(self, wanted: bool, possible: bool) -> bool:
        """Whether to time another round: one that is wanted, or possible while the other process wants some."""
        ...

    def agreed(self, number: int) -> int:
        """What all who measure this case together do: a number that this process has by its own clock, or another's."""
        ...

    def others_own(self) -> float:
        """Processor time in s that the other process has had."""
        ...


class Alone:
    """Nobody to wait for."""

    span, waited = 0.5, 0.0

    def rest(self) -> None:
        """Nothing."""

    def again(self, wanted: bool, possible: bool) -> bool:
        return wanted

    def agreed(self, number: int) -> int:
        return number

    def others_own(self) -> float:
        return 0.0


class Turns:
    """This process's end of the channel; a pytest plug-in, which learns from it which case it is in.

    Where the other process ends, in whichever way, this one goes on alone. Rounds cover more than one process's alone:
    what little differs between two neighbouring moments must cancel out.
    """

    span = 2.0

    def __init__(self, channel: socket.socket, first: bool, clock: Callable[[], float] = time.perf_counter) -> None:
        self._lines, self._channel = channel.makefile("r", encoding="ascii"), channel
        self._first, self._clock = first, clock
        self._case, self._wanted, self._shared = "", False, frozenset[str]()
        self._other: dict[str, Any] = {}
        self.waited, self._since = 0.0, clock()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn which cases both have, then wait for the first turn where it is the other's."""
        names = [item.nodeid for item in session.items]
        if self._first:
            self._say(names)
        self._shared = frozenset(names) & frozenset(self._hear() or ())
        if not self._first:
            self._say(names)
            self._hand_over(silently=True)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._case, self._wanted = item.nodeid, True

    def pytest_unconfigure(self) -> None:
        self._case, self._wanted = "", False
        self._tell()
        self._lines.close()
        self._channel.close()

    def wait_for_the_end(self) -> None:
        """Of the other process, and take no turns."""
        while self._hear() is not None:
            pass
        self.pytest_unconfigure()

    def rest(self) -> None:
        if self._case in self._shared and self._clock() - self._since >= LONGEST:
            self._hand_over()

    def again(self, wanted: bool, possible: bool) -> bool:
        self._wanted = wanted
        while not wanted and not possible and self._other_wants():
            self._hand_over()
        return wanted or self._other_wants()

    def agreed(self, number: int) -> int:
        return number

    def others_own(self) -> float:
        return float(self._other.get("own", 0.0))

    def _other_wants(self) -> bool:
        return bool(self._case in self._shared and self._other.get("case") == self._case and self._other["wanted"])

    def _hand_over(self, silently: bool = False) -> None:
        begun = self._clock()
        if not silently:
            self._tell()
        said = self._hear()
        if said is None:
            self._shared = frozenset()
        else:
            self._other = said
        self._since = self._clock()
        self.waited += self._since - begun

    def _tell(self) -> None:
        self._say({"case": self._case, "wanted": self._wanted, "own": sum(os.times()[:4])})

    def _say(self, what: object) -> None:
        try:
            self._channel.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            self._shared = frozenset()

    def _hear(self) -> Any:
        """What the other process says next, or None where it has ended."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return json.loads(line) if line else None


def joined(first: Command, second: Command) -> list[Command]:
    """Two runs of pytest that will take turns; ``first`` begins."""
    ends = zip((first, second), ("first", "second"), socket.socketpair(), strict=True)
    return [_at(command, role, end.detach()) for command, role, end in ends]


def _at(command: Command, role: str, descriptor: int) -> Command:
    environment = {**(command.environment or {}), CHANNEL: f"{role}:{descriptor}"}
    return replace(command, environment=environment, keeps=(descriptor,))


def register(config: pytest.Config) -> None:
    """Take turns where this process was started to, and only with a process that can run beside it.

    Two cannot share a GPU: the second then waits for the end of the first.
    """
    role, _, descriptor = os.environ.pop(CHANNEL, "").partition(":")
    if not role:
        return
    turns = Turns(socket.socket(fileno=int(descriptor)), role == "first")
    if config.stash[SETTINGS].device == "cpu":
        config.pluginmanager.register(turns, NAME)
    elif role == "second":
        turns.wait_for_the_end()
    else:
        config.add_cleanup(turns.pytest_unconfigure)


def turn(config: pytest.Config) -> Turn:
    """The turns that this process takes, or that it is alone."""
    return config.pluginmanager.get_plugin(NAME) or Alone()
