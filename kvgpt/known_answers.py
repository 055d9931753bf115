"""Models and texts whose perplexity is known beforehand."""

from collections.abc import Sequence
from math import log
from typing import Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache, KVShape
from kvgpt.config import GPTConfig

CHAIN = ((0.9, 0.1), (0.4, 0.6))  # of two states: the chance of each next one
STATIONARY = (0.8, 0.2)  # how often each state is met


class Table:
    """A model that needs no cache: the logits of what follows each token are a row of a table (V, V).

    It has all of a :class:`kvgpt.GPT` that an engine asks for. ``block_size`` tokens fit a window.
    """

    def __init__(self, table: Tensor, block_size: int) -> None:
        self.table, self.weights = table, "random:0"
        self.config = GPTConfig(1, 1, 1, len(table), block_size)

    def __call__(self, ids: Tensor, cache: KVCache, positions: Tensor, last_only: bool = False) -> Tensor:
        out = self.table[ids]  # (B, T, V)
        return out[:, -1:] if last_only else out

    def prepare(self, rows: int) -> Self:
        """Nothing is multiplied."""
        return self

    def kv_shape(self, batch_size: int, max_length: int) -> KVShape:
        return KVShape(1, batch_size, 1, 1, max_length, self.table.dtype, self.table.device)


def chain_logits(chain: Sequence[Sequence[float]] = CHAIN) -> Tensor:
    """The table of a model that knows the chain, (2, 2) float64."""
    return torch.tensor(chain, dtype=torch.float64).log()


def chain_entropy(chain: Sequence[Sequence[float]] = CHAIN, stationary: Sequence[float] = STATIONARY) -> float:
    """Nats a token: the mean loss of a model that knows the chain, on a text without end."""
    rows = zip(stationary, chain, strict=True)
    return -sum(share * sum(chance * log(chance) for chance in row) for share, row in rows)


def chain_text(length: int, generator: torch.Generator) -> Tensor:
    """A text (N,) int64 that the chain wrote."""
    states = [0]
    for u in torch.rand(length, generator=generator).tolist():
        states.append(int(u >= CHAIN[states[-1]][0]))
    return torch.tensor(states)
