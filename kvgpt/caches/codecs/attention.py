"""Attention of one query a row over vectors in fewer bits than it is computed in, with no wide copy of all of them.

Scales multiply scores and weights, never vectors. Shapes: H heads of queries, G times the K heads of keys; S tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kvgpt.caches.codecs.base import Codec, Kept
from kvgpt.native import attention as native

TILE = 256  # tokens attended at a time: their float copy stays in a core's own cache
LEAST = 2**18  # numbers of K: with fewer, a loop saves little, and compiling it never pays


@dataclass(frozen=True)
class Side:
    """What one codec keeps: K and V together (``count`` 2), or one of them. Its parts go by ``prefix`` and their own
    name.
    """

    prefix: str
    codec: Codec
    count: int


Held = Sequence[tuple[Side, Kept]]  # of K and V: parts (count, B, K, S, ...)


def loop_for(q: Tensor, keys: str | None, values: str | None, heads: int, tokens: int) -> native.Loop | None:
    """What attends with q (B, H, 1, D) in one pass over so many heads and tokens, kept as these types of
    :mod:`kvgpt.native.attention`; None where nothing does, or is not worth its call. It has no gradients.
    """
    if q.size(2) > 1 or q.device.type != "cpu" or torch.is_grad_enabled():
        return None
    if q.size(0) * heads * tokens * q.size(3) < LEAST:
        return None
    return native.loop(keys, values, q.dtype, q.size(3))


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


def in_one_pass(run: native.Loop, q: Tensor, held: Held) -> Tensor:
    """The same through its :func:`loop_for`: codes become numbers in registers, and each is read once."""
    k, v = (list(kept.values()) for _, kept in _each(held))
    return native.attend(run, q, k, v)


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
