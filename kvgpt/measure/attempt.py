"""One attempt to run a load of some batch within a memory. Whatever comes of it, nothing of it is left behind."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch

from kvgpt.measure import out_of_memory
from kvgpt.measure.capacity import Probe
from kvgpt.measure.memory import Allocation, allocation

Load = Callable[[int], Iterator[object]]  # of a batch: its stages, which keep alive what the next ones need


class Memory(Protocol):
    """A memory with an end: ``budget`` bytes, of which a load may take what its model does not."""

    @property
    def budget(self) -> int: ...

    def limited(self, held: int) -> AbstractContextManager[None]:
        """Let the device itself refuse what goes over the budget, where it can; ``held`` are the model's bytes."""

    def watch(self, run: Callable[[], object]) -> Allocation:
        """Run once, and say what was allocated meanwhile."""

    def release(self) -> None:
        """Give back what nobody holds any more."""


class HostMemory:
    """A stated number of bytes of the host's memory. Nothing is refused while a load runs: its bytes are counted."""

    def __init__(self, budget: int) -> None:
        self.budget = budget

    def limited(self, held: int) -> AbstractContextManager[None]:
        return nullcontext()

    def watch(self, run: Callable[[], object]) -> Allocation:
        return allocation(run, "cpu")

    def release(self) -> None:
        gc.collect()


class DeviceMemory:
    """A GPU's memory, or a stated number of its bytes. ValueError for more than it has."""

    def __init__(self, budget: int | None = None) -> None:
        self.total = torch.cuda.get_device_properties(0).total_memory
        self.budget = self.total if budget is None else budget
        if self.budget > self.total:
            raise ValueError(f"a memory budget of {budget} bytes: this device has {self.total}; name fewer, or none")

    @contextmanager
    def limited(self, held: int) -> Iterator[None]:
        """What others hold on the device is not the load's to pay for."""
        others = torch.cuda.memory_allocated() - held
        before = torch.cuda.get_per_process_memory_fraction()
        torch.cuda.set_per_process_memory_fraction(min(before, (self.budget + others) / self.total))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(before)

    def watch(self, run: Callable[[], object]) -> Allocation:
        return allocation(run, "cuda")

    def release(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def quick_collections() -> Iterator[None]:
    """Have the collector look at new objects only: each attempt ends with a collection, and torch alone is so many."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def attempt(load: Load, batch: int, memory: Memory, held: int) -> Probe:
    """Run every stage of ``load(batch)`` beside a model of ``held`` bytes, or as many as fit.

    It fits when nothing ran out of memory and ``held`` and what was allocated never came to more than the budget.
    """
    try:
        return _run(load, batch, memory, held)
    except Exception as error:  # torch has several for the one thing
        why = out_of_memory.reason(error)
        if why is None:
            raise
        return Probe(batch, fitted=False, why=why)
    finally:
        memory.release()  # after the error and its frames are gone, which hold on to tensors


def _run(load: Load, batch: int, memory: Memory, held: int) -> Probe:
    stages, running, now, peak = load(batch), True, held, held

    def stage() -> None:
        nonlocal running
        running = next(stages, None) is not None

    with memory.limited(held):
        while running:
            seen = memory.watch(stage)
            now, peak = now + seen.kept, max(peak, now + seen.peak)
            if peak > memory.budget:
                return Probe(batch, fitted=False, peak=peak, why=f"{peak} bytes are needed, {memory.budget} are there")
    return Probe(batch, fitted=True, peak=peak)
