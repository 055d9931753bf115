"""A memory whose allocator is a counter: blocks of stated sizes, given back when the collector finds them unheld."""

import weakref

import torch

from kvgpt.measure.attempt import HostMemory
from kvgpt.measure.memory import Allocation

ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 12 (Cannot allocate)"
    ),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
)


class Block:
    """Some bytes. It holds on to itself, as an engine and its cache may: only a collection ends it."""

    def __init__(self):
        self.itself = self


class FakeMemory(HostMemory):
    """``budget`` bytes, beyond which ``error`` is raised; where that is None everything is given, and only counted."""

    def __init__(self, budget, error=None):
        super().__init__(budget)
        self.error, self.taken, self.most, self.refused = error, 0, 0, 0

    def take(self, nbytes):
        if self.error is not None and self.taken + nbytes > self.budget:
            self.refused += 1
            raise type(self.error)(*self.error.args)  # a fresh one: an error keeps its frames, and what they hold
        block = Block()
        weakref.finalize(block, self.give, nbytes)
        self.taken += nbytes
        self.most = max(self.most, self.taken)
        return block

    def give(self, nbytes):
        self.taken -= nbytes

    def watch(self, run):
        before = self.most = self.taken
        run()
        return Allocation(self.taken - before, self.most - before)

    def load(self, fixed, held, step):
        """Stages that take ``fixed`` bytes, then ``held`` a sequence, and at last ``step`` a sequence on top."""

        def stages(batch):
            weights = self.take(fixed)
            yield weights
            cache = self.take(batch * held)
            yield weights, cache
            yield weights, cache, self.take(batch * step)

        return stages
