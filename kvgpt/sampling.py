"""The next token from logits: greedy, temperature, top-k, top-p, from uniform numbers drawn ahead of time.

A row's uniforms depend on its seed alone, never on the batch around it or on the device, and the global generators are
left alone. A token is drawn by inverting the cumulative distribution, so that none of probability zero can come out
(torch.multinomial returned some: huggingface/transformers#23088).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def uniforms(seed: int | Sequence[int] | None, rows: int, n: int) -> Tensor:
    """(rows, n) float64 numbers in [0, 1 - 2**-24]. One seed a row, or one from which each row's is derived."""
    if seed is None or isinstance(seed, int):
        streams = [np.random.default_rng(None if seed is None else [seed, row]) for row in range(rows)]
    elif len(seed) == rows:
        streams = [np.random.default_rng([one, 0]) for one in seed]
    else:
        raise ValueError(f"{len(seed)} seeds for a batch of {rows} rows: give one, or one for each row")
    drawn = [stream.random(n, dtype=np.float32) for stream in streams]
    return torch.from_numpy(np.stack(drawn).astype(np.float64))


@dataclass(frozen=True)
class Sampler:
    """``temperature`` 0 is greedy; ``top_k`` keeps exactly k tokens, ties by index; ``top_p`` then keeps the smallest
    set of most likely tokens whose mass reaches p, the one that crosses included.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature}: must be 0 (greedy) or a positive number")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k}: must be at least 1")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p={self.top_p}: must be above 0 and at most 1")

    def pick(self, logits: Tensor, u: Tensor) -> Tensor:
        """Logits (B, V), u (B,) in [0, 1) -> tokens (B, 1)."""
        if self.temperature == 0.0:
            return logits.argmax(dim=-1, keepdim=True)
        cumulative = self.probabilities(logits).cumsum(dim=-1)  # (B, V)
        target = u.unsqueeze(-1) * cumulative[:, -1:]  # (B, 1), below the last entry of each row
        return torch.searchsorted(cumulative, target, right=True)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (B, V) -> the distribution drawn from, (B, V) float64."""
        logits = logits.double()
        if self.temperature == 0.0:
            return torch.zeros_like(logits).scatter_(1, logits.argmax(dim=-1, keepdim=True), 1.0)
        # The largest becomes 0 first: a tiny temperature then gives -inf for the others, and never inf - inf.
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / self.temperature
        if self.top_k is None and self.top_p in (None, 1.0):
            return logits.softmax(dim=-1)
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        if self.top_k is not None:
            ordered[:, self.top_k :] = -torch.inf
        likely = ordered.softmax(dim=-1)  # (B, V), most likely first
        if self.top_p not in (None, 1.0):
            before = likely.cumsum(dim=-1) - likely
            likely = likely.masked_fill(before >= self.top_p, 0.0)
            likely = likely / likely.sum(dim=-1, keepdim=True)
        return torch.zeros_like(likely).scatter_(1, order, likely)
