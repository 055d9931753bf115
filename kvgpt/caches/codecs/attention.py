"""Attention of one query a row over vectors in fewer bits than it is computed in, with no wide copy of all of them.

Scales multiply scores and weights, never vectors. Shapes: H heads of queries, G times the K heads of keys; S tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from kvgpt.attention import sdpa
from kvgpt.caches.codecs.base import LOOP, Codec, Kept
from kvgpt.compiling import Compiled

TILE = 256  # tokens attended at a time: their float copy stays in a core's own cache
LEAST = 2**18  # numbers of K: with fewer, calling what is compiled costs as much as it saves, and compiling never pays


@dataclass(frozen=True)
class Side:
    """What one codec keeps: K and V together (``count`` 2), or one of them. Its parts go by ``prefix`` and their own
    name.
    """

    prefix: str
    codec: Codec
    count: int


Held = Sequence[tuple[Side, Kept]]  # of K and V: parts (count, B, K, S, ...)


def pays(q: Tensor, heads: int, tokens: int) -> bool:
    """Whether one pass for q (B, H, 1, D) over so many heads and tokens is worth its call; it has no gradients."""
    return q.size(0) * heads * tokens * q.size(3) >= LEAST and not torch.is_grad_enabled()


def in_tiles(q: Tensor, held: Held) -> Tensor:
    """Q (B, H, 1, D) -> (B, H, 1, D), the softmax accumulated tile by tile.

    Milakov and Gimelshein 2018, arXiv 1805.02867.
    """
    (keys, k), (values, v) = _each(held)
    x = _grouped(q, k)  # (B, K, G, D)
    top = x.new_full((*x.shape[:3], 1), -torch.inf)
    total, sums = torch.zeros_like(top), torch.zeros_like(x)
    for start in range(0, _tokens(k), TILE):
        k_tile, v_tile = ({name: part[:, :, start : start + TILE] for name, part in of.items()} for of in (k, v))
        scores = keys.scores(x, k_tile)  # (B, K, G, tile)
        peak = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        weights, fade = (scores - peak).exp(), (top - peak).exp()
        total = torch.addcmul(weights.sum(dim=-1, keepdim=True), total, fade)
        sums = torch.addcmul(values.mix(weights, v_tile), sums, fade)
        top = peak
    return (sums / total).reshape(q.shape).to(q.dtype)


def in_one_pass(q: Tensor, held: Held) -> Tensor:
    """The same, compiled: codes become numbers in registers, and each is read once."""
    sides = tuple((type(side.codec), side.count) for side, _ in held)
    return _one_pass(sides, q.size(-1), q.dtype)(q, *(part for _, kept in held for part in kept.values()))


def vectors_in_one_pass(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same over vectors k, v (B, K, S, D) in 16 bits, kept as they are."""
    return _vectors(q.size(1), q.size(-1), k.dtype)(q, k, v)


@cache
def _one_pass(sides: tuple[tuple[type[Codec], int], ...], head_dim: int, dtype: torch.dtype) -> Callable[..., Tensor]:
    own = [Side("", codec(head_dim), count) for codec, count in sides]

    def held(parts: Sequence[Tensor]) -> Held:
        left = iter(parts)
        return [(side, {name: next(left) for name in side.codec.room()}) for side in own]

    def attend(q: Tensor, *parts: Tensor) -> Tensor:
        (keys, k), (values, v) = _each(held(parts))
        weights, total = _weights(keys.scores(_grouped(q, k), k, LOOP))
        return (values.mix(weights, v, LOOP) / total).reshape(q.shape).to(q.dtype)

    count = sum(len(side.codec.room()) for side in own)
    return Compiled(attend, [(0,), *[(1, 3)] * count], otherwise=lambda q, *parts: in_tiles(q, held(parts)))


@cache
def _vectors(heads: int, head_dim: int, dtype: torch.dtype) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        x = _grouped(q, {"vectors": k})
        weights, total = _weights(LOOP.dot(x, k.to(x.dtype)))
        return (LOOP.mix(weights, v.to(x.dtype)) / total).reshape(q.shape).to(q.dtype)

    return Compiled(attend, [(0,), (0, 2), (0, 2)], otherwise=sdpa)


def _each(held: Held) -> Iterator[tuple[Codec, dict[str, Tensor]]]:
    """The codec and the parts (B, K, S, ...) of K, then those of V."""
    for side, kept in held:
        for which in range(side.count):
            yield side.codec, {name: part[which] for name, part in kept.items()}


def _grouped(q: Tensor, kept: Kept) -> Tensor:
    """Q (B, H, 1, D) -> (B, K, G, D), wide and scaled: the queries that share a head's keys lie side by side."""
    B, H, _, D = q.shape
    heads = next(iter(kept.values())).size(1)
    return q.to(torch.promote_types(q.dtype, torch.float32)).reshape(B, heads, H // heads, D) * D**-0.5


def _tokens(kept: Kept) -> int:
    return next(iter(kept.values())).size(2)


def _weights(scores: Tensor) -> tuple[Tensor, Tensor]:
    """A softmax (B, K, G, S) before its division, and the divisor (B, K, G, 1): no loop over values divides."""
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return weights, weights.sum(dim=-1, keepdim=True)
