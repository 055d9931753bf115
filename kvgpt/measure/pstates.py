"""The clocks of a device at rest, under load and after it, so that anybody can see what a benchmark runs at."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from kvgpt import plain
from kvgpt.measure import device as devices
from kvgpt.measure.host import Host
from kvgpt.measure.nvml import Gpu
from kvgpt.measure.state import THROTTLES

INTERVAL = 0.1  # s between two samples
LONGEST = 600.0  # s of a phase
PHASES = ("rest", "load", "after")
SIZE = {"cpu": 1024, "cuda": 4096}  # rows of the matrices that make the load: 10 ms or so a product
RAMP = 0.05  # relative: a smaller change of the clock is none
UNITS = {"clock": "Hz", "fastest core": "Hz", "memory clock": "Hz", "power": "W", "temperature": "°C"}

Answers = Mapping[str, float | str]  # column -> what was read; what is not known is left out


@dataclass(frozen=True)
class Sample:
    """What was read ``at`` s after the start."""

    at: float
    phase: str
    said: Answers


def report(device: str, seconds: float, gpu: Gpu | None = None, host: Host | None = None) -> list[str]:
    """The lines to print: the samples and what they show, or why there is nothing to sample."""
    gpu, host = gpu or devices.gpu(device), host or Host()
    if device == "cuda":
        read, why_not = partial(of_gpu, gpu), gpu.absent or "the driver does not say how fast the GPU runs"
    else:
        read, why_not = partial(of_cores, host), "the system does not say how fast its cores run"
    if "clock" not in read():
        return [f"no clocks to show: {why_not}"]
    samples = watch(read, matmuls(device), seconds)
    return [*table(samples), "", conclusion(samples)]


def of_gpu(gpu: Gpu) -> Answers:
    """The SM clock and what explains it."""
    now = gpu.read()
    said = {
        "clock": now.sm_clock,
        "memory clock": now.memory_clock,
        "P-state": None if now.performance_state is None else f"P{now.performance_state}",
        "power": now.power,
        "temperature": now.temperature,
        "reasons": None if now.throttle_reasons is None else ", ".join(now.throttle_reasons) or "none",
    }
    return {name: value for name, value in said.items() if value is not None}


def of_cores(host: Host) -> Answers:
    """The clock of the slowest core that this process may use, and of the fastest."""
    now = host.frequencies()
    return {"clock": min(now), "fastest core": max(now)} if now else {}


def watch(
    read: Callable[[], Answers],
    load: Callable[[], object],
    seconds: float = 5.0,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Sample]:
    """Sample for ``seconds`` at rest, as long while ``load`` runs over and over, and as long after it."""
    if not INTERVAL <= seconds <= LONGEST:
        raise ValueError(f"{seconds:g} s a phase: expected {INTERVAL:g} to {LONGEST:g}")
    start, samples = clock(), []
    for phase in PHASES:
        work: AbstractContextManager[None] = _running(load) if phase == "load" else nullcontext()
        with work:
            end = clock() + seconds
            while (now := clock()) < end:
                samples.append(Sample(now - start, phase, read()))
                sleep(INTERVAL)
    return samples


def matmuls(device: str) -> Callable[[], None]:
    """A load: one product of two matrices a call, done when it returns."""
    size = SIZE[device]
    a, out = torch.randn(size, size, device=device), torch.empty(size, size, device=device)

    def run() -> None:
        torch.mm(a, a, out=out)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def table(samples: Sequence[Sample]) -> list[str]:
    """A line for each sample."""
    names = list(dict.fromkeys(name for sample in samples for name in sample.said))
    rows = [
        (f"{sample.at:.1f} s", sample.phase, *(_shown(name, sample.said.get(name)) for name in names))
        for sample in samples
    ]
    return plain.columns(("time", "phase", *names), rows)


def conclusion(samples: Sequence[Sample]) -> str:
    """What the samples show, in sentences: whether the clock ramps, the P-state under load, throttling."""
    rest, load = (_clocks(samples, phase) for phase in ("rest", "load"))
    if not rest or not load:
        return "No clock was read, so that nothing is known of it."
    said = [_ramp(rest, load)]
    under = [sample.said for sample in samples if sample.phase == "load"]
    states = sorted({str(one["P-state"]) for one in under if "P-state" in one})
    if states:
        said.append(f"P-state under load: {', '.join(states)}.")
    reasons = [str(one["reasons"]).split(", ") for one in under if "reasons" in one]
    if reasons:
        throttled = sorted({name for some in reasons for name in some if name in THROTTLES})
        said.append(f"Throttled under load: {', '.join(throttled)}." if throttled else "Not throttled under load.")
    return " ".join(said)


def _ramp(rest: Sequence[float], load: Sequence[float]) -> str:
    """By the medians: the first samples of a load are still those of rest."""
    before, then = statistics.median(rest), statistics.median(load)
    at_rest, under_load = plain.quantity(before, "Hz"), plain.quantity(then, "Hz")
    if len({*rest, *load}) == 1:
        return f"The clock stands at {under_load}: it is held there, or what the system states is nominal."
    if abs(then - before) <= RAMP * before:
        return f"The clock does not ramp: {at_rest} at rest, {under_load} under load."
    return f"The clock {'rises' if then > before else 'falls'}: {at_rest} at rest, {under_load} under load."


def _clocks(samples: Sequence[Sample], phase: str) -> list[float]:
    return [float(one.said["clock"]) for one in samples if one.phase == phase and "clock" in one.said]


def _shown(name: str, value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else plain.quantity(value, UNITS[name])


@contextmanager
def _running(load: Callable[[], object]) -> Iterator[None]:
    """``load`` runs over and over in another thread; what it raises is raised here."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            load()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            yield
        finally:
            stop.set()
    future.result()
