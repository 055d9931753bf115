"""Bytes from memory, counted by a CPU itself: the lines that its last cache did not have, through ``perf stat``.

It is a lower bound: what a hardware prefetcher fetched before it was asked for is missed by no core. Nothing here asks
for a right that the process lacks.
"""

import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVENT = "cache-misses"  # of the last level
LINE = 64  # bytes
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
MOST_PARANOID = 2  # at which a process may count its own events
PATIENCE = 10.0  # seconds for perf to answer, and to end
READ = 64  # bytes of its answer


class Uncountable(Exception):
    """Why nothing can be counted here, and what would change that."""


def why_not() -> str | None:
    """Why this machine counts nothing, or None: a short count is tried."""
    try:
        counted(lambda: None)
    except Uncountable as reason:
        return str(reason)
    return None


def counted(body: Callable[[], object]) -> int:
    """Run ``body`` and return the bytes that came from memory meanwhile, for all threads of this process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "perf.csv"
        with _counting(out):
            body()
        return LINE * count(out.read_text())


def count(exported: str) -> int:
    """The count in what ``perf stat -x,`` wrote; Uncountable where the processor, or its host, offers none."""
    for line in exported.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].partition(":")[0] == EVENT:
            if fields[0].startswith("<"):
                raise Uncountable(
                    f"perf says {EVENT} is {fields[0].strip('<>')}: a virtual machine is not given the processor's "
                    "counters unless its host passes them on"
                )
            return round(float(fields[0]))
    raise Uncountable(f"perf wrote no line for {EVENT}: {exported.strip()[-200:] or 'nothing at all'}")


@contextmanager
def _counting(out: Path) -> Iterator[None]:
    """perf, attached to this process: it counts from the begin of the block to its end, and then has written."""
    perf = shutil.which("perf")
    if perf is None:
        raise Uncountable("no perf on PATH: install your distribution's linux-tools or linux-perf")
    orders, theirs = os.pipe(), os.pipe()
    control = f"fd:{orders[0]},{theirs[1]}"
    words = [perf, "stat", "-x,", "-o", str(out), "-e", EVENT, "-D", "-1", "--control", control, "-p", str(os.getpid())]
    said = out.with_suffix(".log")
    with said.open("wb") as log:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        streams |= {"pass_fds": (orders[0], theirs[1]), "env": {**os.environ, "LC_ALL": "C"}}
        process = subprocess.Popen(words, **streams)  # noqa: S603 - perf, and words of ours
    os.close(orders[0])
    os.close(theirs[1])
    try:
        _order(process, "enable", orders[1], theirs[0], said)
        yield
        _order(process, "disable", orders[1], theirs[0], said)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    finally:
        os.close(orders[1])
        os.close(theirs[0])
        process.kill()
        process.wait()


def _order(process: "subprocess.Popen[bytes]", word: str, orders: int, answers: int, said: Path) -> None:
    """Tell perf to begin or to end, and wait until it has."""
    try:
        os.write(orders, f"{word}\n".encode())
        answer = os.read(answers, READ) if select.select([answers], [], [], PATIENCE)[0] else b""
    except BrokenPipeError:
        answer = b""
    if not answer.startswith(b"ack"):
        process.kill()
        process.wait()
        raise Uncountable(f"perf did not {word}: {_reason(said.read_text(errors='replace').strip())}")


def _reason(said: str) -> str:
    try:
        level = int(PARANOID.read_text())
    except (OSError, ValueError):
        level = MOST_PARANOID
    if level > MOST_PARANOID:
        return f"{PARANOID} is {level}: an administrator may set it to {MOST_PARANOID}"
    return said.splitlines()[-1] if said else "it ended without a word"
