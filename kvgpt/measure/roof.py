"""The roof: how many bytes and operations a second this device does at best, probed in the run whose times it judges.

A probe's best repetition counts, and the best of all probes of a run: what the device did once, it can do. Bandwidth is
probed by reading blocks of several sizes, because a working set that fits a cache near the cores is read faster than
memory allows: each time is held to the bandwidth of the largest probed block that is no larger than its working set.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from kvgpt.costs import Demand

MIB = 2**20
SIZES = {
    "cpu": tuple(MIB * size for size in (1, 4, 12, 24, 64, 256)),
    "cuda": tuple(MIB * size for size in (8, 32, 128, 1024)),
}
MATMUL = {"cpu": 1024, "cuda": 8192}  # rows and columns of the matrices multiplied
REPEATS = 5


@dataclass
class Roof:
    """The best rates so far: ``read`` by block size in bytes, ``copy`` with reading and writing counted, ``flops``."""

    read: dict[int, float] = field(default_factory=dict)
    copy: float = 0.0
    flops: float = 0.0

    def bandwidth(self, working_set: float) -> float:
        """Bytes a second at which a working set of this many bytes can be read at best."""
        fitting = [size for size in self.read if size <= working_set]
        return max(rate for size, rate in self.read.items() if size >= max(fitting, default=0))

    def seconds(self, demands: Iterable[Demand], working_set: float) -> float:
        """The least time for these steps, one after the other."""
        rate = self.bandwidth(working_set)
        return sum(demand.seconds(self.flops, rate) for demand in demands)

    def raise_to(self, other: "Roof") -> None:
        """Take what ``other`` did better."""
        for size, rate in other.read.items():
            self.read[size] = max(rate, self.read.get(size, 0.0))
        self.copy, self.flops = max(self.copy, other.copy), max(self.flops, other.flops)


def probe(device: str, dtype: str, clock: Callable[[], float]) -> Roof:
    """One probe of everything, about a second on two cores. ``clock`` waits for the device."""
    made = Roof()
    largest = SIZES[device][-1]
    block = torch.ones(largest // 4, device=device)  # float32
    for size in SIZES[device]:
        part, times = block[: size // 4], max(1, largest // size // 4)
        made.read[size] = times * size / _best(partial(_read, part, times), clock)
    target = torch.empty_like(block)
    made.copy = 2 * largest / _best(lambda: target.copy_(block), clock)
    made.read[largest] = max(made.read[largest], made.copy)
    n = MATMUL[device]
    a = torch.ones(n, n, device=device, dtype=getattr(torch, dtype))
    made.flops = 2 * n**3 / _best(lambda: a @ a, clock)
    return made


def _read(block: Tensor, times: int) -> None:
    """Read a block several times over, with the fewest operations that torch offers for it."""
    for _ in range(times):
        block.amax()


def _best(run: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of the best repetition but the first."""
    marks = [clock()]
    for _ in range(1 + REPEATS):
        run()
        marks.append(clock())
    return min(end - begun for begun, end in list(pairwise(marks))[1:])
