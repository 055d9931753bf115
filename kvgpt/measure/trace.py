"""Trace: what ran during one step, when and for how long, as torch's profiler saw it; no clock of any other figure.

On a GPU the spans are kernels and copies on the device, and a gap is time in which it had none. On a CPU they are the
operators that the model asks torch for, each with all that it calls, and a gap is time in which Python had the core.
A profiled step is slower than others: shares of it are worth more than its seconds.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Protocol

import torch
from torch.profiler import ProfilerActivity, profile, record_function

STEP = "kvgpt step"
FEWEST, MOST, SECONDS = 3, 15, 0.3  # steps that are profiled, of which the fastest is shown
ITEM_BYTES = {"double": 8, "float": 4, "c10::Half": 2, "c10::BFloat16": 2, "long int": 8, "long": 8, "int": 4}
ITEM_BYTES |= {"short int": 2} | dict.fromkeys(("signed char", "unsigned char", "bool", "c10::Float8_e4m3fn"), 1)
VIEWS: tuple[str, ...] = (
    "view",
    "transpose",
    "slice",
    "select",
    "split",
    "chunk",
    "unsqueeze",
    "squeeze",
    "flatten",
    "expand",
)
VIEWS += ("permute", "narrow", "as_strided", "reshape", "detach", "alias", "unbind", "resolve", "contiguous", "item")
LOOP = "Torch-Compiled Region"  # what torch calls all that its compiler made of one function
GATHERS = ("embedding", "index", "gather", "scatter", "_index_put")  # of their first operand they touch a few rows


class Event(Protocol):
    """What is asked of an event of torch's profiler."""

    def name(self) -> str: ...
    def start_ns(self) -> int: ...
    def end_ns(self) -> int: ...
    def device_type(self) -> object: ...
    def start_thread_id(self) -> int: ...
    def shapes(self) -> Sequence[Sequence[int]]: ...
    def dtypes(self) -> Sequence[str]: ...
    def flops(self) -> int: ...


@dataclass(frozen=True)
class Span:
    """One kernel or operator: nanoseconds from the step's begin, and the least bytes and operations that its operands
    show. Both are 0 where nothing is known of them.
    """

    name: str
    start: int
    duration: int
    bytes: int = 0
    flops: int = 0


@dataclass(frozen=True)
class Trace:
    """A step of ``duration`` nanoseconds and what ran in it, in order and without overlap."""

    duration: int
    spans: tuple[Span, ...]

    @property
    def gaps(self) -> list[int]:
        """Nanoseconds between one span and the next, before the first and after the last."""
        ends = [0, *(span.start + span.duration for span in self.spans)]
        starts = [*(span.start for span in self.spans), self.duration]
        return [max(0, start - end) for end, start in zip(ends, starts, strict=True)]


def traced(step: Callable[[], object], device: str, usual: float, setup: Callable[[], object] = lambda: None) -> Trace:
    """Profile some steps, ``setup`` before each, and return the fastest; one takes ``usual`` seconds without this."""
    steps = min(MOST, max(FEWEST, int(SECONDS / usual)))
    waits = torch.cuda.synchronize if device == "cuda" else lambda: None
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities, record_shapes=True, with_flops=True, acc_events=True) as profiler:
        for _ in range(steps):
            setup()
            waits()
            with record_function(STEP):
                step()
                waits()
    return fastest(profiler.profiler.kineto_results.events(), device)


def fastest(events: Iterable[Event], device: str) -> Trace:
    """The fastest of the steps among these events. ValueError where there is none."""
    every = [event for event in events if event.end_ns() >= event.start_ns()]
    on_host = [event for event in every if _on(event) == "CPU"]
    steps = [event for event in on_host if event.name() == STEP]
    if not steps:
        raise ValueError(f"the profiler recorded no {STEP!r} among {len(every)} events")
    step = min(steps, key=lambda event: event.end_ns() - event.start_ns())
    inside = [event for event in every if event.name() != STEP and _holds(step, event)]
    if device == "cuda":
        ran = [event for event in inside if _on(event) == "CUDA"]
        found = [Span(_short(event.name()), *_when(event, step)) for event in _in_order(ran)]
    else:
        ran = [event for event in inside if _on(event) == "CPU" and event.start_thread_id() == step.start_thread_id()]
        found = [_operator(outer, inner, step) for outer, inner in _outermost(_in_order(ran))]
    return Trace(step.end_ns() - step.start_ns(), tuple(_apart(found)))


def record_of(trace: Trace, least: Callable[[Span], float]) -> dict[str, Any]:
    """A trace as the ``details`` of a record have it: what each operator took in total, and every span as the place of
    its name among ``names``, its begin and its duration in nanoseconds. ``least`` is the floor of a span, in seconds.
    """
    names = list(dict.fromkeys(span.name for span in trace.spans))
    operators = []
    for name in names:
        own = [span for span in trace.spans if span.name == name]
        seconds, floor = 1e-9 * sum(span.duration for span in own), sum(map(least, own))
        above = sum(max(0.0, 1e-9 * span.duration - least(span)) for span in own)
        operators.append({"name": name, "count": len(own), "seconds": seconds, "floor": floor, "above": above})
    return {
        "seconds": 1e-9 * trace.duration,
        "gaps": 1e-9 * sum(trace.gaps),
        "longest_gap": 1e-9 * max(trace.gaps),
        "operators": operators,
        "names": names,
        "spans": " ".join(f"{names.index(one.name)}:{one.start}:{one.duration}" for one in trace.spans),
    }


def _on(event: Event) -> str:
    return str(event.device_type()).rpartition(".")[2]


def _holds(outer: Event, inner: Event) -> bool:
    return outer.start_ns() <= inner.start_ns() and inner.end_ns() <= outer.end_ns()


def _when(event: Event, step: Event) -> tuple[int, int]:
    return event.start_ns() - step.start_ns(), event.end_ns() - event.start_ns()


def _in_order(events: Iterable[Event]) -> list[Event]:
    """By their begin, of two that begin together the one that ends later first: an operator before what it calls."""
    return sorted(events, key=lambda event: (event.start_ns(), -event.end_ns()))


def _outermost(events: Iterable[Event]) -> list[tuple[Event, list[Event]]]:
    """Each event that no other holds, and those that it holds."""
    found: list[tuple[Event, list[Event]]] = []
    for event in events:
        if found and _holds(found[-1][0], event):
            found[-1][1].append(event)
        else:
            found.append((event, []))
    return found


def _short(kernel: str) -> str:
    """A kernel's name without its namespaces, its types and its arguments."""
    return re.split(r"[<(]", kernel.removeprefix("void "))[0].rpartition("::")[2] or kernel


def _operator(outer: Event, inner: Sequence[Event], step: Event) -> Span:
    own = outer.name().removeprefix("aten::").removeprefix("kvgpt::")
    name = "compiled loop" if outer.name().startswith(LOOP) else own
    flops = outer.flops() or sum(event.flops() for event in inner)
    return Span(name, *_when(outer, step), _bytes(name, outer), flops)


def _bytes(name: str, event: Event) -> int:
    """The least that an operator reads: its operands, each once. A view reads nothing."""
    if name.rstrip("_").startswith(VIEWS) or name in VIEWS:
        return 0
    operands = list(zip(event.shapes(), event.dtypes(), strict=False))
    read = operands[1:] if name.startswith(GATHERS) else operands
    return sum(prod(shape) * ITEM_BYTES.get(dtype, 0) for shape, dtype in read)


def _apart(spans: Sequence[Span]) -> list[Span]:
    """What overlaps on several streams is cut to where the one before it ends, so that no time counts twice."""
    made = list(spans[:1])
    for before, span in pairwise(spans):
        end = max(made[-1].start + made[-1].duration, before.start + before.duration)
        late = max(0, end - span.start)
        made.append(Span(span.name, span.start + late, max(0, span.duration - late), span.bytes, span.flops))
    return made
