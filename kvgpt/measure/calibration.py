"""Known answers, asked of the instruments in every run: what they make of something whose figure is known beforehand.

A run whose instruments are wrong is not valid, and says so in every record.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch

from kvgpt import perplexity
from kvgpt.engine import Engine
from kvgpt.known_answers import Table, chain_entropy, chain_logits, chain_text
from kvgpt.measure.memory import allocation
from kvgpt.model import GPT

SLEEP = 0.05  # s
ALLOCATED = 1_000_000  # bytes
BLOCK = {"cpu": 1, "cuda": 512}  # bytes to which an allocator rounds up
VOCABULARY, TOKENS, WINDOW = 50, 4_000, 256
FASTEST_CLOCK, PORTS = 6e9, 192  # Hz, and bytes that a core loads and stores in a cycle: more than any has


@dataclass(frozen=True)
class Answer:
    """What an instrument said, and between which bounds it was right."""

    what: str
    value: float
    least: float
    most: float

    @property
    def right(self) -> bool:
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        return f"{self.what} reads {self.value:.6g}, where {self.least:.6g} to {self.most:.6g} is right"


def calibrate(device: str, clock: Callable[[], Any], copy: float, sleep: Callable[[float], None]) -> list[Answer]:
    """Every answer, a third of a second in all. ``copy`` is the bandwidth that this run's probes found, in B/s."""
    return [
        slept(clock, sleep),
        Answer("a copy's bandwidth (B/s)", copy, 0.0, most_bandwidth(device)),
        allocated(device),
        even_logits(device),
        known_chain(device),
    ]


def slept(clock: Callable[[], Any], sleep: Callable[[float], None] = time.sleep) -> Answer:
    """A known sleep, within 2%: the best of five, since a machine may wake late but never early."""
    readings = []
    for _ in range(5):
        begun = clock()
        sleep(SLEEP)
        readings.append(clock() - begun)
    return Answer("a sleep (s)", min(readings), 0.98 * SLEEP, 1.02 * SLEEP)


def most_bandwidth(device: str) -> float:
    """Bytes a second that no copy on this device can pass: of its memory, or what its cores can load and store."""
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return 2 * 1e3 * float(properties.memory_clock_rate) * float(properties.memory_bus_width) / 8
    return torch.get_num_threads() * PORTS * FASTEST_CLOCK


def allocated(device: str) -> Answer:
    """A block of known size, to the byte on a CPU and to the allocator's block on a GPU."""
    read = allocation(lambda: torch.empty(ALLOCATED, dtype=torch.uint8, device=device), device).kept
    return Answer("an allocation (B)", read, ALLOCATED, ALLOCATED + BLOCK[device] - 1)


def even_logits(device: str) -> Answer:
    """Zero logits: the perplexity is the size of the vocabulary."""
    text = torch.randint(VOCABULARY, (WINDOW,), generator=torch.Generator().manual_seed(0))
    found = _score(torch.zeros(VOCABULARY, VOCABULARY, dtype=torch.float64, device=device), text).perplexity
    return Answer("zero logits (perplexity)", found, VOCABULARY * (1 - 1e-9), VOCABULARY * (1 + 1e-9))


def known_chain(device: str) -> Answer:
    """A source of two states, to a model that knows it: its entropy, within four standard errors."""
    text = chain_text(TOKENS, torch.Generator().manual_seed(0))
    score, entropy = _score(chain_logits().to(device), text), chain_entropy()
    error = 4 * (score.stderr or 0.0)
    return Answer("a source of two states (nats a token)", score.mean, entropy - error, entropy + error)


def _score(table: torch.Tensor, text: torch.Tensor) -> perplexity.Score:
    windows = perplexity.Windows.cut(text, WINDOW, WINDOW, None)
    engine = Engine(cast(GPT, Table(table, WINDOW)), "v1", len(windows.ids))  # it has all that an engine asks for
    return perplexity.teacher_forced(engine, windows)
