"""How an engine's steps are run: here each as the model computes it, one operation after another."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache
from kvgpt.policies import Policy
from kvgpt.sampling import Sampler

Forward = Callable[[Tensor, KVCache, Tensor, bool], Tensor]  # as GPT is called: ids, cache, positions, last_only


class Steps:
    """Steps through ``forward``: a model, or what computes the same.

    ``together`` is how many tokens are best generated before the host looks at one.
    """

    together = 1

    def __init__(self, forward: Forward, policy: Policy) -> None:
        self.forward, self.policy = forward, policy

    def step(self, ids: Tensor, cache: KVCache, last_only: bool = True) -> Tensor:
        """Ids (B, T) -> logits (B, T, V), or (B, 1, V) of the last position. ``cache`` has then seen them."""
        seen = cache.position + torch.arange(ids.size(1), device=ids.device)  # (T,)
        logits = self.forward(ids, cache, self.policy.places(seen), last_only)
        cache.advance(ids.size(1))
        return logits

    def several(self, ids: Tensor, cache: KVCache, sampler: Sampler, drawn: Tensor) -> Tensor:
        """Feed ids (B, 1) and what follows them, all but the last token: the n picked with drawn (B, n) -> (B, n)."""
        tokens = []
        for u in drawn.unbind(dim=1):
            ids = sampler.pick(self.step(ids, cache)[:, -1], u)  # (B, 1)
            tokens.append(ids)
        return torch.cat(tokens, dim=1)

    def fork(self) -> Self:
        """The same for another cache."""
        return self


class Chunked(Steps):
    """Long prompts are fed in chunks, so that what a step allocates has a bound. The logits are those of one step: that
    is a cache's promise, unless it keeps nothing.
    """

    # Rows times tokens: products of a few hundred rows are bound by arithmetic already, and the widest activation of
    # GPT-2 XL at so many, 4 x 1600 numbers each, is 105 MB in 16 bits.
    most_tokens = 8192

    def step(self, ids: Tensor, cache: KVCache, last_only: bool = True) -> Tensor:
        size = max(1, self.most_tokens // ids.size(0))
        if cache.stateless or ids.size(1) <= size:
            return super().step(ids, cache, last_only)
        parts: list[Tensor] = []
        for chunk in ids.split(size, dim=1):
            logits = super().step(chunk, cache, last_only)
            parts = [logits] if last_only else [*parts, logits]
        return torch.cat(parts, dim=1)


def cuts(tokens: int, together: int) -> list[int]:
    """How so many new tokens are cut: the first follows the prompt, the others come ``together``, and what is left over
    one by one, since no other number of steps is worth a recording.
    """
    whole, rest = divmod(max(0, tokens - 1), together)
    return [1] * min(1, tokens) + [together] * whole + [1] * rest
