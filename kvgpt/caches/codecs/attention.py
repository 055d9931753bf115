"""Attention of one query a row over vectors in fewer bits than it is computed in, with no wide copy of all of them.

Scales multiply scores and weights, never vectors. Shapes: N heads of all rows, G queries that share a head's keys, S
tokens.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from kvgpt.caches.codecs.base import LOOP, Codec, Kept
from kvgpt.compiling import Compiled

TILE = 256  # tokens attended at a time: their float copy stays in a core's own cache
LEAST = 2**18  # numbers of K: with fewer, calling what is compiled costs as much as it saves, and compiling never pays


class Coded(NamedTuple):
    """Vectors as their codec keeps them: parts (N, S, ...)."""

    codec: Codec
    kept: Kept


def in_tiles(q: Tensor, keys: Coded, values: Coded) -> Tensor:
    """Q (N, G, D), scaled -> (N, G, D), the softmax accumulated tile by tile.

    Milakov and Gimelshein 2018, arXiv 1805.02867.
    """
    top = q.new_full((*q.shape[:2], 1), -torch.inf)
    total, sums = torch.zeros_like(top), torch.zeros_like(q)
    held = next(iter(keys.kept.values())).size(1)
    for start in range(0, held, TILE):
        k, v = ({name: part[:, start : start + TILE] for name, part in of.kept.items()} for of in (keys, values))
        scores = keys.codec.scores(q, k)  # (N, G, tile)
        peak = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        weights, fade = (scores - peak).exp(), (top - peak).exp()
        total = torch.addcmul(weights.sum(dim=-1, keepdim=True), total, fade)
        sums = torch.addcmul(values.codec.mix(weights, v), sums, fade)
        top = peak
    return sums / total


def in_one_pass(q: Tensor, keys: Coded, values: Coded) -> Tensor:
    """The same, compiled: codes become numbers in registers, and each is read once."""
    attend = _one_pass(type(keys.codec), type(values.codec), q.size(-1), q.dtype)
    return attend(q, *keys.kept.values(), *values.kept.values())


def vectors_in_one_pass(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same over vectors k, v (N, S, D) in 16 bits, kept as they are."""
    return _vectors(q.size(-1), k.dtype)(q, k, v)


@cache
def _one_pass(keys: type[Codec], values: type[Codec], head_dim: int, dtype: torch.dtype) -> Callable[..., Tensor]:
    of_keys, of_values = keys(head_dim), values(head_dim)
    names_of_keys, names_of_values = list(of_keys.room()), list(of_values.room())

    def attend(q: Tensor, *parts: Tensor) -> Tensor:
        k = dict(zip(names_of_keys, parts, strict=False))
        v = dict(zip(names_of_values, parts[len(k) :], strict=True))
        weights, total = _weights(of_keys.scores(q, k, LOOP))
        return of_values.mix(weights, v, LOOP) / total

    return Compiled(attend, symbolic=(0, 1))


@cache
def _vectors(head_dim: int, dtype: torch.dtype) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights, total = _weights(LOOP.dot(q, k.to(q.dtype)))
        return LOOP.mix(weights, v.to(q.dtype)) / total

    return Compiled(attend, symbolic=(0, 1))


def _weights(scores: Tensor) -> tuple[Tensor, Tensor]:
    """A softmax (N, G, S) before its division, and the divisor (N, G, 1): the loop over values has no division."""
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return weights, weights.sum(dim=-1, keepdim=True)
