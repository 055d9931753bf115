"""What Linux says of the processors: who had their time, whether they were held back, and how fast they run.

Read from /proc and /sys. What the system does not say is None. Times are in s since the start, frequencies in Hz.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")  # s: what /proc counts time in
QUOTAS = {"": ("throttled_usec", 1e-6), "cpu": ("throttled_time", 1e-9)}  # cgroup controller -> its counter, its unit


@dataclass(frozen=True)
class Reading:
    """The counters at one moment; the difference of two says what went on in between."""

    at: float  # by a clock that never goes back
    cores: int  # that this process may run on
    busy: float | None = None  # of those cores, by all processes and the kernel
    stolen: float | None = None  # of those cores, by other guests of the same machine
    own: float | None = None  # by this process, those of its children that have ended, and one it takes turns with
    throttled: float | None = None  # that the quotas of cgroups held it back, summed over cores
    frequencies: tuple[float, ...] = ()  # of those cores
    load: float | None = None  # processes that ran or waited to, averaged over a minute


class Host:
    """The processors that this process may run on."""

    def __init__(
        self,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        cores: Collection[int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        partner: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``partner`` says what s of processor time a process had that works only while this one waits."""
        self.proc, self.sys, self.clock, self.partner = proc, sys, clock, partner
        self.cores = frozenset(cores if cores is not None else _allowed())

    def read(self) -> Reading:
        busy, stolen = self._busy() or (None, None)
        return Reading(
            at=self.clock(),
            cores=len(self.cores),
            busy=busy,
            stolen=stolen,
            own=self._own(),
            throttled=self._throttled(),
            frequencies=self.frequencies(),
            load=self._load(),
        )

    def frequencies(self) -> tuple[float, ...]:
        """Of each core in Hz, from cpufreq, else from cpuinfo; empty where neither says."""
        folder = self.sys / "devices/system/cpu"
        khz = [_text(folder / f"cpu{core}/cpufreq/scaling_cur_freq") for core in sorted(self.cores)]
        if all(one.strip().isdigit() for one in khz):
            return tuple(int(one) * 1e3 for one in khz)
        found, core = [], -1
        for line in _text(self.proc / "cpuinfo").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "processor":
                core = int(value)
            elif name.strip() == "cpu MHz" and core in self.cores:
                found.append(float(value) * 1e6)
        return tuple(found)

    def _busy(self) -> tuple[float, float] | None:
        """All but idle and waiting for disks; guests are counted as user already."""
        busy = stolen = 0
        found = set()
        for line in _text(self.proc / "stat").splitlines():
            name, *counts = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in self.cores:
                user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, counts)
                busy, stolen = busy + user + nice + system + irq + softirq, stolen + steal
                found.add(int(name[3:]))
        return (busy * TICK, stolen * TICK) if found == self.cores else None

    def _own(self) -> float | None:
        """User and system time, and those of children, from after the name, which may contain spaces and brackets."""
        fields = _text(self.proc / "self/stat").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * TICK + self.partner() if fields else None

    def _throttled(self) -> float | None:
        """By the quota of this process's group or of any above it, in either version of cgroups."""
        found = []
        for line in _text(self.proc / "self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            mounts = [name for name in controllers.split(",") if name in QUOTAS]
            if mounts:
                counter, unit = QUOTAS[mounts[0]]
                root = self.sys / "fs/cgroup" / controllers
                found += [count * unit for count in _counters(root, path, counter)]
        return sum(found) if found else None

    def _load(self) -> float | None:
        fields = _text(self.proc / "loadavg").split()
        return float(fields[0]) if fields else None


def _allowed() -> Collection[int]:
    """Where the system has no affinity, the process may run on every core."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _counters(root: Path, path: str, name: str) -> Iterable[int]:
    """A counter of a group and of those above it. In a container a group may be mounted as the root itself."""
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        for line in _text(folder / "cpu.stat").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                yield int(value)
        if folder == root:
            return


def _text(path: Path) -> str:
    """A file of the kernel's; empty where there is none or none may be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
