"""Calm: whether the processor is as fast as it has been in this run, as pulses between the rounds of a case tell.

A core that shares its units with a stranger's thread is up to twice as slow, and memory that others read, too, is
slower: for seconds at a time, and no counter of the kernel's says so. A pulse is a little work of the kinds that a step
is made of. Rounds count where the pulses around them took about as long as the best of the run: they are
chosen by their pulses alone, never by how long they took.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from types import MappingProxyType

import torch
from torch import Tensor

from kvgpt import pulses
from kvgpt.measure.roof import SIZES, Roof, reading
from kvgpt.measure.small_operations import small_operations
from kvgpt.pulses import Pulse

LONGER = 4  # times its seconds that a case may last beyond them to find moments that are calm
LONGEST, IN_ALL = 10.0, 20.0  # s of that, in a case and in a run
OFTEN, COMPUTED = 6, 6  # times in a pulse of what takes 120 us at best, and of what takes 15
CHUNK = 32_768  # elements that torch gives a thread at the least
WARM_UPS = 5


class Gauge:
    """Takes pulses, and knows the best of each kind of work. Without ``work`` every moment is calm."""

    def __init__(
        self,
        work: Mapping[str, Callable[[], object]],
        of_a_case: Collection[str] = (),
        clock: Callable[[], float] = time.perf_counter,
        nbytes: int = 0,
        ready: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    ) -> None:
        """How fast the work ``of_a_case`` is depends on what else is done, so that its best is that of each case.

        The kind "memory", where there is one, reads ``nbytes`` that no cache holds. ``ready`` is done before its kind,
        untimed: a large model leaves other code near the cores than a small one.
        """
        self._work, self._ready, self._of_a_case, self._clock, self._nbytes = work, ready, of_a_case, clock, nbytes
        self.best = dict.fromkeys(work, inf)
        self.left = IN_ALL if work else 0.0
        for _ in range(WARM_UPS):
            self.pulse()

    def pulse(self) -> Pulse:
        """Do all of the work once; how long each kind of it took."""
        taken = {}
        for kind, run in self._work.items():
            if kind in self._ready:
                self._ready[kind]()
            begun = self._clock()
            run()
            taken[kind] = self._clock() - begun
            self.best[kind] = min(self.best[kind], taken[kind])
        return taken

    def begin_case(self) -> None:
        """Forget what another case left near the cores."""
        self.best |= dict.fromkeys(self._of_a_case, inf)

    def bandwidth(self, taken: Iterable[Pulse]) -> float | None:
        """B/s at which these pulses read memory at best; None where they read caches, or nothing."""
        return self._nbytes / min(pulse["memory"] for pulse in taken) if self._nbytes else None

    def roof(self) -> Roof:
        """What pulses say of the device: they are probes, too."""
        best = self.bandwidth([self.best])
        return Roof(read={SIZES["cpu"][-1]: best} if best else {})

    def patience(self, seconds: float) -> float:
        """How many s longer a case of so many may last."""
        return min(LONGER * seconds, LONGEST, self.left)

    def slowness(self, pulse: Pulse) -> float:
        """Times the best so far that the slowest kind of work took."""
        return pulses.slowness(pulse, self.best)


def of_processor(cached: Iterable[Tensor] = ()) -> Gauge:
    """A gauge of the cores that torch uses, and of the caches they read these weights from; without any, of memory."""
    few, many = small_operations(), torch.zeros(torch.get_num_threads() * CHUNK)
    near = [one.detach().view(-1).view(torch.int8) for one in cached if one.is_contiguous()]
    cores: dict[str, Callable[[], object]] = {
        "operations": lambda: [few() for _ in range(OFTEN)],
        "cores": lambda: [torch.sin(many, out=many) for _ in range(COMPUTED)],
    }
    ready = {"operations": few}
    if near:
        return Gauge({**cores, "caches": lambda: [one.amax() for one in near]}, of_a_case=["caches"], ready=ready)
    memory = reading("cpu", SIZES["cpu"][-1])
    return Gauge({**cores, "memory": memory.run}, nbytes=memory.amount, ready=ready)
