"""What can be measured on this machine, what cannot, and why. Nothing is changed, fetched or timed for a record."""

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

import torch

from kvgpt import checkpoint, manifest, plain
from kvgpt.config import SHIPPED
from kvgpt.measure import device as devices
from kvgpt.measure import memory, perf
from kvgpt.measure.host import Host
from kvgpt.measure.ncu import capture
from kvgpt.measure.nvml import UNITS, Gpu

COMPILERS = ("g++", "clang++", "c++")
OPTIONAL = {  # distribution -> what it is for
    "transformers": "peers: install kvgpt[peers]",
    "matplotlib": "figures",
    "datasets": "WikiText-2",
}


@dataclass(frozen=True)
class Finding:
    """One thing, whether it works here (None: not tried), and how, or why not."""

    what: str
    works: bool | None
    said: str


def report(device: str) -> list[str]:
    """The lines to print: what works on this machine, as a run on ``device`` would find it."""
    return table(examine(device))


def examine(device: str, gpu: Gpu | None = None, host: Host | None = None) -> list[Finding]:
    """All that a run on ``device`` could use, and what the GPU says of itself, where there is one."""
    host = host or Host()
    return [
        *_torch(device, len(host.cores)),
        *_instruments(device),
        *_processors(host),
        *_gpu(gpu or devices.gpu("cuda")),
        *_counters(),
        *_software(device),
        *_files(checkpoint.SHIPPED),
    ]


def table(findings: Iterable[Finding]) -> list[str]:
    """A line for each finding."""
    words = {True: "yes", False: "no", None: "not tried"}
    return plain.columns(
        ("what", "works here", "how, or why not"), [(one.what, words[one.works], one.said) for one in findings]
    )


def default_device() -> str:
    """The device that torch would be asked for here: a GPU where it sees one."""
    return "cpu" if devices.no_cuda() else "cuda"


def timer_step(clock: Callable[[], float] = time.perf_counter, readings: int = 1000) -> float:
    """The smallest step in s that ``clock`` takes between two readings."""
    least, before = float("inf"), clock()
    for _ in range(readings):
        while (now := clock()) == before:
            pass
        least, before = min(least, now - before), now
    return least


def _torch(device: str, cores: int) -> Iterator[Finding]:
    yield Finding("torch", True, torch.__version__)
    why = devices.no_cuda() if device == "cuda" else None
    yield Finding(f"device {device}", not why, why or str(devices.describe(device)["name"]))
    yield Finding("threads", True, f"{torch.get_num_threads()} of torch, {cores} cores for this process")
    cache = None if why else devices.last_level_cache(device)
    yield _known("last-level cache", cache, "B", why or "the system does not say its size")


def _instruments(device: str) -> Iterator[Finding]:
    yield Finding("timer", True, f"perf_counter, in steps of {plain.quantity(timer_step(), 's')}")
    cuda = devices.no_cuda()
    yield Finding("CUDA events", not cuda, cuda or "times on the GPU's own stream")
    resident = memory.resident()
    yield _known("resident memory", resident, "B", "the system has no /proc/self/statm")
    if device == "cuda":
        yield Finding("allocator", not cuda, cuda or "torch counts what it hands out, in blocks of 512 B")
    else:
        profiler = torch.profiler.kineto_available()
        said = "torch's profiler reports each allocation" if profiler else "this torch is built without its profiler"
        yield Finding("allocator", profiler, said)


def _processors(host: Host) -> Iterator[Finding]:
    reading = host.read()
    counted = reading.busy is not None and reading.own is not None
    yield Finding("others' share of cores", counted, "from /proc/stat" if counted else "no /proc/stat of these cores")
    stolen = reading.stolen is not None
    yield Finding("stolen time", stolen, "from /proc/stat" if stolen else "no /proc/stat of these cores")
    yield _known("throttled by cgroups", reading.throttled, "s", "no cpu.stat that counts it", "so far")
    slowest = min(reading.frequencies, default=None)
    yield _known("core frequency", slowest, "Hz", "neither cpufreq nor /proc/cpuinfo says it", "the slowest now")


def _gpu(gpu: Gpu) -> Iterator[Finding]:
    if gpu.absent:
        yield Finding("NVML", False, gpu.absent)
        yield Finding("GPU clocks, power, ...", False, "they need NVML")
        yield Finding("locking of clocks", False, "it needs NVML")
        return
    facts, reading = gpu.facts(), gpu.read()
    yield Finding("NVML", True, f"driver {facts.driver or 'unknown'}")
    for answers in (facts, reading):
        for field in fields(answers):
            yield _reading(gpu, field.name, getattr(answers, field.name))
    who = "this process is root" if os.geteuid() == 0 else "this process is not root"
    yield Finding("locking of clocks", None, f"drivers let root alone do it, {who}; `kvgpt clocks lock` asks")


def _reading(gpu: Gpu, name: str, value: object) -> Finding:
    label = f"GPU {name.replace('_', ' ')}"
    if value is None:
        return Finding(label, False, gpu.refused.get(name, "the driver does not say"))
    if isinstance(value, int | float) and name in UNITS:
        return Finding(label, True, plain.quantity(value, UNITS[name]))
    return Finding(label, True, (", ".join(value) or "none") if isinstance(value, tuple) else str(value))


def _counters() -> Iterator[Finding]:
    why = perf.why_not()
    yield Finding("a CPU's counters", not why, why or "perf counts what the last cache did not have")
    cuda = devices.no_cuda()
    try:
        tool = capture.find()
    except capture.Skipped as reason:
        yield Finding("a GPU's counters", False, cuda or str(reason))
    else:
        said = f"ncu {tool.version}; `kvgpt roofline --ncu` asks the driver, which may let administrators alone"
        yield Finding("a GPU's counters", False if cuda else None, cuda or said)


def _software(device: str) -> Iterator[Finding]:
    triton = importlib.util.find_spec("triton") is not None
    cuda = devices.no_cuda()
    yield Finding("Triton", triton and not cuda, "installed" if triton and not cuda else cuda or "not installed")
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    needs = [] if compiler else [f"a C++ compiler on PATH ({', '.join(COMPILERS)})"]
    needs += ["Triton"] if device == "cuda" and not triton else []
    yield Finding("torch.compile", not needs, f"needs {' and '.join(needs)}" if needs else f"compiles with {compiler}")
    for name, purpose in OPTIONAL.items():
        version = _version(name)
        yield Finding(name, version is not None, version or f"not installed, it is for {purpose}")


def _files(shipped: Path) -> Iterator[Finding]:
    yield Finding("network", None, "nothing is fetched unless it is asked for by name")
    for name in SHIPPED:
        why = _damage(shipped / name)
        yield Finding(f"checkpoint {name}", not why, why or "its files are those of its manifest")


def _damage(directory: Path) -> str | None:
    if not (directory / manifest.NAME).is_file():
        return f"no {manifest.NAME} in {directory}"
    try:
        manifest.verify(directory, ("config.json", "model.safetensors"))
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _known(what: str, value: float | None, unit: str, why_not: str, when: str = "") -> Finding:
    said = why_not if value is None else f"{plain.quantity(value, unit)} {when}".rstrip()
    return Finding(what, value is not None, said)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
