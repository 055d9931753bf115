"""A command in a process of its own, whose lines are logged and watched; Ctrl-C is passed on to it once."""

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any


def run(
    command: Sequence[str],
    directory: Path,
    log: IO[bytes],
    watch: Callable[[str], object],
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run ``command`` until it ends; its exit code. Each line that it prints goes to ``log`` and to ``watch``."""
    pipe = subprocess.PIPE
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": subprocess.STDOUT}
    # A process group of its own: the terminal's Ctrl-C reaches the parent alone, which passes it on once.
    streams["process_group"] = 0
    with subprocess.Popen(command, cwd=directory, env=environment, **streams) as child:  # noqa: S603 - the caller's own
        try:
            _relay(child.stdout, log, watch)
            child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            _relay(child.stdout, log, watch)
            child.wait()
            raise
        finally:
            child.kill()  # where it lives on: after a second Ctrl-C, or where its log could not be written
    return child.returncode


def _relay(lines: IO[bytes] | None, log: IO[bytes], watch: Callable[[str], object]) -> None:
    for line in lines or ():
        log.write(line)
        log.flush()
        watch(line.decode(errors="replace").rstrip())
