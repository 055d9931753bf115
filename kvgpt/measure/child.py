"""Commands in processes of their own, whose lines are logged and watched; Ctrl-C is passed on to them once."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Command:
    """What to run, in which ``directory``; each line that it prints goes to ``log`` and to ``watch``.

    It inherits the file descriptors ``keeps``, which this process closes. Once it has ended, ``ended`` is told its exit
    code, while others may still run.
    """

    words: Sequence[str]
    directory: Path
    log: IO[bytes]
    watch: Callable[[str], object]
    environment: Mapping[str, str] | None = None
    keeps: Sequence[int] = ()
    ended: Callable[[int], object] = lambda code: None


def run(*commands: Command) -> list[int]:
    """Run all at once until each has ended; their exit codes."""
    with ExitStack() as stack:
        try:
            children = [stack.enter_context(_start(command)) for command in commands]
        finally:
            for descriptor in (one for command in commands for one in command.keeps):
                os.close(descriptor)  # whoever waits at the other end learns that this child has ended
        relays = stack.enter_context(ThreadPoolExecutor(len(commands)))
        relayed = [relays.submit(_relay, child, command) for child, command in zip(children, commands, strict=True)]
        try:
            for one in as_completed(relayed):
                one.result()
            return [child.wait() for child in children]
        except KeyboardInterrupt:
            for child in children:
                child.send_signal(signal.SIGINT)
            wait(relayed)
            for child in children:
                child.wait()
            raise
        finally:
            for child in children:
                child.kill()  # where it lives on: after a second Ctrl-C, or where its log could not be written


def _start(command: Command) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": subprocess.STDOUT}
    # A process group of its own: the terminal's Ctrl-C reaches the parent alone, which passes it on once.
    streams |= {"process_group": 0, "pass_fds": command.keeps, "cwd": command.directory, "env": command.environment}
    return subprocess.Popen(command.words, **streams)  # noqa: S603 - the caller's own


def _relay(child: "subprocess.Popen[bytes]", command: Command) -> None:
    for line in child.stdout or ():
        command.log.write(line)
        command.log.flush()
        command.watch(line.decode(errors="replace").rstrip())
    command.ended(child.wait())
