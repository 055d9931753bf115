"""Clocks: readings of which a later less an earlier one is seconds."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Event(Protocol):
    """What is asked of ``torch.cuda.Event``."""

    def record(self) -> Any: ...

    def synchronize(self) -> Any: ...

    def elapsed_time(self, end_event: Any) -> float: ...


class Mark:
    """A place on the GPU's stream. The device passes it in its own time: nothing waits until two are subtracted.

    Each pair is subtracted on its own, since ``elapsed_time`` has 24 bits of milliseconds: a clock that counted from
    one base for all would tick in quarters of a millisecond after an hour.
    """

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.event = event
        event.record()

    def __sub__(self, earlier: "Mark") -> float:
        self.event.synchronize()
        return earlier.event.elapsed_time(self.event) / 1e3


def cuda_events() -> Mark:
    """A mark on the current stream."""
    return Mark(torch.cuda.Event(enable_timing=True))


def synchronised() -> float:
    """Seconds on the host, after all that was asked of the GPU is done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def device_clock(device: str) -> Callable[[], Any]:
    """The clock of the device itself: events on a GPU's stream, the host's clock on a CPU."""
    return cuda_events if device == "cuda" else time.perf_counter


def host_clock(device: str) -> Callable[[], float]:
    """What a user's watch shows."""
    return synchronised if device == "cuda" else time.perf_counter
