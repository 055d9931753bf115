"""Decode steps recorded in CUDA graphs: what takes the host one launch an operation is replayed with one in all.

A recorded step reads and writes the same addresses each time: the tokens' buffer, the cache's storages, and its
``position``, which the step's last operation moves. What the host counts is no part of it, and is counted beside it.
PyTorch's documentation, "CUDA semantics", section "CUDA Graphs".
"""

from collections.abc import Callable, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache, KVShape
from kvgpt.sampling import Sampler
from kvgpt.steps import Steps

# Steps a replay. With each more, the host's share of a token falls by less, while the graph grows by as much again, and
# more tokens are computed in vain once all rows have ended.
TOGETHER = 8

Body = Callable[[], Tensor]


class Recorder(Protocol):
    """What can run a function again without the host's part of it, on the same buffers."""

    def run(self, body: Body) -> Tensor:
        """Run ``body`` where it would be recorded: what it sets up or compiles is there afterwards."""

    def record(self, body: Body) -> tuple[Tensor, Body]:
        """Run ``body`` and return what it returned, and what runs it again: into that same tensor, which it returns."""


class CudaGraphs:
    """Graphs of one stream, in one pool of memory: each has ended before the next begins."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, body: Body) -> Tensor:
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            out = body()
        current.wait_stream(self._stream)
        return out

    def record(self, body: Body) -> tuple[Tensor, Body]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            out = body()  # nothing is computed yet

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay(), replay


class Replayed:
    """A function of tensors: run the first time, recorded the second, replayed from then on."""

    def __init__(self, function: Callable[..., Tensor], inputs: Sequence[Tensor], recorder: Recorder) -> None:
        self.buffers = [x.new_empty(x.shape) for x in inputs]
        self._body = lambda: function(*self.buffers)
        self._recorder = recorder
        self._runs = 0
        self._replay: Body | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The result, in memory of its own."""
        for buffer, x in zip(self.buffers, inputs, strict=True):
            buffer.copy_(x)
        if self._replay is not None:
            return self._replay().clone()
        self._runs += 1
        if self._runs == 1:
            return self._recorder.run(self._body)
        out, self._replay = self._recorder.record(self._body)
        return out.clone()


class Graphed:
    """``steps``, of which those of one token are recorded where the cache is ``graphable``.

    Recordings hold for one cache with one set of storages, which ``select`` alone replaces: it makes a new ``shape``.
    """

    together = TOGETHER

    def __init__(self, steps: Steps, recorder: Recorder) -> None:
        self.steps, self.recorder = steps, recorder
        self._cache: KVCache | None = None
        self._shape: KVShape | None = None
        self._recordings: dict[tuple[int, Sampler | None], Replayed] = {}

    def step(self, ids: Tensor, cache: KVCache, last_only: bool = True) -> Tensor:
        """As :meth:`Steps.step`."""
        if ids.size(1) > 1 or not _ready(cache, 1):
            return self.steps.step(ids, cache, last_only)
        return self._counted(cache, 1, None, lambda fed: self.steps.step(fed, cache), ids)

    def several(self, ids: Tensor, cache: KVCache, sampler: Sampler, drawn: Tensor) -> Tensor:
        """As :meth:`Steps.several`."""
        n = drawn.size(1)
        if not _ready(cache, n):
            return self.steps.several(ids, cache, sampler, drawn)
        return self._counted(
            cache, n, sampler, lambda fed, chances: self.steps.several(fed, cache, sampler, chances), ids, drawn
        )

    def fork(self) -> Self:
        """The same for another cache."""
        return type(self)(self.steps, self.recorder)

    def _counted(
        self, cache: KVCache, n: int, sampler: Sampler | None, function: Callable[..., Tensor], *inputs: Tensor
    ) -> Tensor:
        """``function`` of ``inputs``, recorded once, and the ``n`` tokens that it feeds counted on the host."""
        if cache is not self._cache or cache.shape is not self._shape:
            self._cache, self._shape, self._recordings = cache, cache.shape, {}
        key = n, sampler
        if key not in self._recordings:
            self._recordings[key] = Replayed(function, inputs, self.recorder)
        length = cache.length
        out = self._recordings[key](*inputs)
        cache.count(length + n)
        return out


def _ready(cache: KVCache, n: int) -> bool:
    """Whether ``n`` tokens can be fed by a recording, which checks nothing: an ordinary step says what is wrong."""
    whole = all(cache.filled(layer) == cache.length for layer in range(cache.shape.n_layer))
    fits = cache.window is not None or cache.length + n <= cache.shape.max_length
    return cache.graphable and whole and fits
