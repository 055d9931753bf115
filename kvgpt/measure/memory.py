"""Bytes: of the distinct storages that an object holds, and of what the allocator handed out while something ran."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def distinct_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind these tensors, each counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
    return sum(storage.nbytes() for storage in storages.values())


def tensors_of(thing: object) -> list[Tensor]:
    """Every tensor that can be reached from an object through attributes, lists, tuples and dicts."""
    found: list[Tensor] = []
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif hasattr(one, "__dict__") and not isinstance(one, type):
            waiting += vars(one).values()
    return found


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
