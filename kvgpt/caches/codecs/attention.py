"""Attention of one query a row over what codecs keep, with no copy of all of it in floating point.

Scales multiply scores and weights, never vectors. Shapes: N rows of heads, G queries that share a head's keys, S tokens.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from kvgpt.caches.codecs.base import LOOP, Codec, Kept
from kvgpt.compiling import Compiled

TILE = 256  # tokens attended at a time: their float copy stays in a core's own cache
LEAST = 2**18  # numbers of K: with fewer, calling what is compiled costs as much as it saves, and compiling never pays


def in_tiles(q: Tensor, keys: Codec, k: Kept, values: Codec, v: Kept) -> Tensor:
    """Q (N, G, D), scaled; parts (N, S, ...). The softmax is accumulated tile by tile: Milakov and Gimelshein 2018,
    arXiv 1805.02867. Returns (N, G, D).
    """
    top = q.new_full((*q.shape[:2], 1), -torch.inf)
    total, sums = torch.zeros_like(top), torch.zeros_like(q)
    for start in range(0, next(iter(k.values())).size(1), TILE):
        k_tile, v_tile = ({name: part[:, start : start + TILE] for name, part in kept.items()} for kept in (k, v))
        scores = keys.scores(q, k_tile)  # (N, G, tile)
        peak = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        weights, fade = (scores - peak).exp(), (top - peak).exp()
        total = total * fade + weights.sum(dim=-1, keepdim=True)
        sums = sums * fade + values.mix(weights, v_tile)
        top = peak
    return sums / total


def in_one_pass(q: Tensor, keys: Codec, k: Kept, values: Codec, v: Kept) -> Tensor:
    """The same, compiled: codes become numbers in registers, and each is read once."""
    return _compiled(type(keys), type(values), q.size(-1), q.dtype)(q, dict(k), dict(v))


@cache
def _compiled(keys: type[Codec], values: type[Codec], head_dim: int, dtype: torch.dtype) -> Callable[..., Tensor]:
    of_keys, of_values = keys(head_dim), values(head_dim)

    def attend(q: Tensor, k: Kept, v: Kept) -> Tensor:
        return of_values.mix(of_keys.scores(q, k, LOOP).softmax(dim=-1), v, LOOP)

    return Compiled(attend, dynamic=True)
