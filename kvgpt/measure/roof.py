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

from kvgpt.costs import Demand
from kvgpt.native import rows

MIB = 2**20
SIZES = {  # bytes of the blocks read; the last is larger than any cache near the cores
    "cpu": tuple(MIB * size for size in (1, 4, 12, 24, 64, 256)),
    "cuda": tuple(MIB * size for size in (8, 32, 128, 1024)),
}
STREAMED = 64 * MIB  # bytes of a block from which on it is read as a decode step reads weights, where that compiles
WIDTH = 4096  # of such a block's rows
MATMUL = {"cpu": 1024, "cuda": 8192}  # rows and columns of the matrices multiplied
REPEATS, FEWEST, SECONDS = 20, 3, 0.25  # of a probe: a machine that is shared shows its best in one of them


@dataclass(frozen=True)
class Probe:
    """Work of a known amount: bytes read or copied, or operations. ``size`` is the working set, in bytes."""

    run: Callable[[], object]
    amount: int
    size: int


def reading(device: str, size: int) -> Probe:
    """Read a block over and over: with the fewest operations that torch offers for it, or the fastest loop there is."""
    block = torch.ones(size // 4, device=device)  # float32
    times = max(1, SIZES[device][-1] // size // 4)
    once: Callable[[], object] = block.amax
    if device == "cpu" and size >= STREAMED and rows.loop(block.dtype, block.dtype):
        once = partial(rows.few_rows, torch.ones(1, WIDTH), block.view(-1, WIDTH))

    def run() -> None:
        for _ in range(times):
            once()

    return Probe(run, times * size, size)


def copying(device: str) -> Probe:
    """Copy the largest block: every byte is read and written."""
    size = SIZES[device][-1]
    block = torch.ones(size // 4, device=device)  # float32
    target = torch.empty_like(block)
    return Probe(lambda: target.copy_(block), 2 * size, size)


def multiplying(device: str, dtype: str) -> Probe:
    """Multiply square matrices."""
    n = MATMUL[device]
    a = torch.ones(n, n, device=device, dtype=getattr(torch, dtype))  # (N, N)
    return Probe(lambda: a @ a, 2 * n**3, 2 * a.nbytes)


@dataclass
class Roof:
    """The best rates so far: ``read`` by block size in bytes, ``copy`` with reading and writing counted, ``flops``."""

    read: dict[int, float] = field(default_factory=dict)
    copy: float = 0.0
    flops: float = 0.0

    def bandwidth(self, working_set: float) -> float:
        """Bytes a second at which a working set of this many bytes can be read at best."""
        fitting = max((size for size in self.read if size <= working_set), default=0)
        return max(rate for size, rate in self.read.items() if size >= fitting)

    def seconds(self, demands: Iterable[Demand], working_set: float, read: float | None = None) -> float:
        """The least time for these steps, one after the other; ``read`` in B/s where more is known of their moment."""
        rate = read or self.bandwidth(working_set)
        return sum(demand.seconds(self.flops, rate) for demand in demands)

    def raise_to(self, other: "Roof") -> None:
        """Take what ``other`` did better."""
        for size, rate in other.read.items():
            self.read[size] = max(rate, self.read.get(size, 0.0))
        self.copy, self.flops = max(self.copy, other.copy), max(self.flops, other.flops)


def probe(device: str, dtype: str, clock: Callable[[], float], seconds: float = SECONDS) -> Roof:
    """Probe everything once, each for at most ``seconds`` or a few repetitions. ``clock`` waits for the device."""
    read = {size: _rate(reading(device, size), clock, seconds) for size in SIZES[device]}
    return Roof(read, _rate(copying(device), clock, seconds), _rate(multiplying(device, dtype), clock, seconds))


def products(device: str, dtype: str, clock: Callable[[], float]) -> float:
    """Operations a second of a product of matrices, at best."""
    return _rate(multiplying(device, dtype), clock, SECONDS)


def _rate(one: Probe, clock: Callable[[], float], seconds: float) -> float:
    """The amount a second of the best repetition but the first."""
    one.run()
    marks = [clock()]
    while len(marks) <= FEWEST or (len(marks) <= REPEATS and marks[-1] - marks[0] < seconds):
        one.run()
        marks.append(clock())
    return one.amount / min(end - begun for begun, end in pairwise(marks))
