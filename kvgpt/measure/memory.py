"""Bytes: what the allocator handed out while something ran, and what is resident."""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from kvgpt.measure import device as devices
from kvgpt.measure.nvml import Gpu

STATM = Path("/proc/self/statm")  # Linux: sizes in pages, the second is what is resident


@dataclass(frozen=True)
class Allocation:
    """What the allocator did while something ran: bytes more at the end, and at the worst moment."""

    kept: int
    peak: int


def allocation(run: Callable[[], object], device: str) -> Allocation:
    """Run once and watch the device's allocator. The result of ``run`` is still alive when ``kept`` is read.

    On a CPU the profiler reports each allocation; on a GPU the caching allocator keeps count, in blocks of 512 B.
    """
    return _on_gpu(run) if device == "cuda" else _on_cpu(run)


def resident() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not say."""
    if not STATM.is_file():
        return None
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def in_use(device: str, gpu: Gpu | None = None) -> int | None:
    """Bytes in use on the whole device, by anybody, as NVML says; None where it does not."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    return (gpu or devices.gpu(device)).read().memory_used


def empty_reserve(device: str) -> None:
    """Have the allocator return to the device what was freed, so that the driver counts what is asked for from here."""
    if device == "cuda":
        torch.cuda.empty_cache()


def _on_gpu(run: Callable[[], object]) -> Allocation:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = run()
    torch.cuda.synchronize()
    kept, peak = torch.cuda.memory_allocated() - before, torch.cuda.max_memory_allocated() - before
    del result
    return Allocation(kept, peak)


def _on_cpu(run: Callable[[], object]) -> Allocation:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as watching:
        result = run()
    now = peak = 0
    events = [event for event in watching.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    del result
    return Allocation(now, peak)
