"""Decode attention over keys and values in the model's dtype: append, attend and merge in one launch.

One query makes no matrix product: each key is multiplied and summed along its row, which keeps up with the memory.
The sums over a tile's tokens stay apart, (TILE, WIDTH), until the last tile: a reduction less for each.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kvgpt.attention import sdpa
from kvgpt.kernels.plan import Meeting, padded, plan
from kvgpt.kernels.softmax import LOWEST, one, step
from kvgpt.kernels.split import leave, meet, span


def decode(
    q: Tensor, k: Tensor | None, v: Tensor | None, keys: Tensor, values: Tensor, position: Tensor, meeting: Meeting
) -> Tensor:
    """Put k, v (B, H_kv, 1, D) into ``keys`` and ``values`` (B, H_kv, S, D) at ``position``, and attend with q
    (B, H or a multiple, 1, D) over position + 1 tokens. k = v = None: they are there already. Returns q's shape.
    """
    it = plan(q, keys.size(1), keys.size(2), meeting)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    new = (q, q) if k is None or v is None else (k, v)
    strides = [x.stride() for x in (q, *new, keys, values)]
    _decode[it.grid](
        q, *new, keys, values, position, out, *it.place, *it.sizes, *strides,
        OWN=k is not None, WIDTH=padded(q.size(3)), **it.constants,
    )  # fmt: skip
    return out


def plain(
    q: Tensor, k: Tensor | None, v: Tensor | None, keys: Tensor, values: Tensor, position: Tensor, meeting: Meeting
) -> Tensor:
    """The same in plain PyTorch, which reads the position on the host."""
    at = int(position)
    if k is not None and v is not None:
        keys[:, :, at : at + 1], values[:, :, at : at + 1] = k, v
    return sdpa(q, keys[:, :, : at + 1], values[:, :, : at + 1])


@triton.jit
def _decode(
    q, k, v, keys, values, position, out, sums, arrived, heads, groups, room, factor,
    q_strides, k_strides, v_strides, keys_strides, values_strides,
    OWN: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr,
    TILE: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    b, h = row // heads, row % heads
    kv = h // groups
    d = tl.arange(0, WIDTH)
    inside = d < D
    query = tl.load(q + b * q_strides[0] + h * q_strides[1] + d * q_strides[3], mask=inside, other=0.0)
    query = query.to(tl.float32) * factor
    keys += b * keys_strides[0] + kv * keys_strides[1]
    values += b * values_strides[0] + kv * values_strides[1]

    here = tl.load(position)
    first, last = span(tl.minimum(here if OWN else here + 1, room), part, PARTS, TILE)
    top, total = tl.full((), LOWEST, tl.float32), tl.full((), 0.0, tl.float32)
    mixed = tl.zeros((TILE, WIDTH), tl.float32)
    for start in tl.range(first, last, TILE, num_stages=STAGES):
        place = start + tl.arange(0, TILE)  # int64, as position is: offsets pass 2**31
        there = place < last
        mask = there[:, None] & inside[None, :]
        at_key = keys + place[:, None] * keys_strides[2] + d[None, :] * keys_strides[3]
        at_value = values + place[:, None] * values_strides[2] + d[None, :] * values_strides[3]
        key = tl.load(at_key, mask=mask, other=0.0, eviction_policy="evict_first").to(tl.float32)  # (TILE, WIDTH)
        value = tl.load(at_value, mask=mask, other=0.0, eviction_policy="evict_first").to(tl.float32)
        scores = tl.where(there, tl.sum(key * query[None, :], 1), float("-inf"))  # (TILE,)
        top, total, weights, fade = step(top, total, scores)
        mixed = mixed * fade + weights[:, None] * value
    answer = tl.sum(mixed, 0)  # (WIDTH,)

    if OWN and part == PARTS - 1:  # the part with the fewest tokens
        key = tl.load(k + b * k_strides[0] + kv * k_strides[1] + d * k_strides[3], mask=inside, other=0.0)
        value = tl.load(v + b * v_strides[0] + kv * v_strides[1] + d * v_strides[3], mask=inside, other=0.0)
        if (h == kv * groups) & (here < room):  # the first of those that share a key writes it
            tl.store(keys + here * keys_strides[2] + d * keys_strides[3], key, mask=inside)
            tl.store(values + here * values_strides[2] + d * values_strides[3], value, mask=inside)
        top, total, weight, fade = one(top, total, tl.sum(key.to(tl.float32) * query, 0))
        answer = answer * fade + weight * value.to(tl.float32)

    leave(out, sums, row, part, top, total, answer, d, D, D, PARTS)
    meet(out, sums, arrived, row, D, WIDTH, PARTS, PADDED)
