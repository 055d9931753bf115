"""Decode attention over 8-bit codes, see :mod:`kvgpt.caches.codecs.int8`: append, quantise, attend and merge in one
launch.

No vector is dequantised: a key's scale multiplies its score, s_n = scale_n (q . codes_n), and a value's its weight.
Laid out as :mod:`kvgpt.kernels.dense`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kvgpt.caches.codecs.int8 import Int8
from kvgpt.kernels import twin
from kvgpt.kernels.plan import Meeting, padded, plan
from kvgpt.kernels.rounding import HUGE, TINY, finite, whole
from kvgpt.kernels.softmax import LOWEST, one, step
from kvgpt.kernels.split import leave, meet, span

LEVELS = tl.constexpr(127)


def decode(
    q: Tensor, k: Tensor | None, v: Tensor | None, codes: Tensor, scales: Tensor, position: Tensor, meeting: Meeting
) -> Tensor:
    """Quantise k, v (B, H_kv, 1, D) into ``codes`` (2, B, H_kv, S, D) and ``scales`` (2, B, H_kv, S) at ``position``,
    and attend with q (B, H or a multiple, 1, D) over position + 1 tokens. k = v = None: they are there already.
    Returns q's shape.
    """
    it = plan(q, codes.size(2), codes.size(3), meeting)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    new = (q, q) if k is None or v is None else (k, v)
    strides = [x.stride() for x in (q, *new, codes[0], scales[0])]
    _decode[it.grid](
        q, *new, *codes, *scales, position, out, *it.place, *it.sizes, *strides,
        OWN=k is not None, WIDTH=padded(q.size(3)), **it.constants,
    )  # fmt: skip
    return out


def plain(
    q: Tensor, k: Tensor | None, v: Tensor | None, codes: Tensor, scales: Tensor, position: Tensor, meeting: Meeting
) -> Tensor:
    """The same in plain PyTorch."""
    return twin.decode(q, k, v, Int8(q.size(3)), {"codes": codes, "scales": scales}, position)


@triton.jit
def encode(x, inside):
    """A vector (WIDTH,), float32 and 0 where it is not ``inside``: its codes, float32, and its scale, fp16."""
    peak = tl.max(tl.where(inside, tl.abs(x), 0.0), 0)
    scale = tl.minimum(tl.maximum(tl.div_rn(peak, LEVELS * 1.0), TINY), HUGE).to(tl.float16)
    codes = whole(tl.div_rn(x, tl.zeros_like(x) + scale.to(tl.float32)), -LEVELS, LEVELS)
    valid = finite(x)
    return tl.where(valid, codes, 0.0), tl.where(valid, scale, float("nan")).to(tl.float16)


@triton.jit
def _decode(
    q, k, v, key_codes, value_codes, key_scales, value_scales, position,
    out, sums, arrived, heads, groups, room, factor,
    q_strides, k_strides, v_strides, codes_strides, scales_strides,
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
    codes_row = b * codes_strides[0] + kv * codes_strides[1]
    scales_row = b * scales_strides[0] + kv * scales_strides[1]

    here = tl.load(position)
    first, last = span(tl.minimum(here if OWN else here + 1, room), part, PARTS, TILE)
    top, total = tl.full((), LOWEST, tl.float32), tl.full((), 0.0, tl.float32)
    mixed = tl.zeros((TILE, WIDTH), tl.float32)
    for start in tl.range(first, last, TILE, num_stages=STAGES):
        place = start + tl.arange(0, TILE)  # int64, as position is: offsets pass 2**31
        there = place < last
        mask = there[:, None] & inside[None, :]
        at = codes_row + place[:, None] * codes_strides[2] + d[None, :] * codes_strides[3]
        at_scale = scales_row + place * scales_strides[2]
        key = tl.load(key_codes + at, mask=mask, other=0, eviction_policy="evict_first")  # (TILE, WIDTH)
        value = tl.load(value_codes + at, mask=mask, other=0, eviction_policy="evict_first")
        key_scale = tl.load(key_scales + at_scale, mask=there, other=0.0, eviction_policy="evict_first")  # (TILE,)
        value_scale = tl.load(value_scales + at_scale, mask=there, other=0.0, eviction_policy="evict_first")
        scores = tl.sum(key.to(tl.float32) * query[None, :], 1) * key_scale.to(tl.float32)
        top, total, weights, fade = step(top, total, tl.where(there, scores, float("-inf")))
        mixed = mixed * fade + (weights * value_scale.to(tl.float32))[:, None] * value.to(tl.float32)
    answer = tl.sum(mixed, 0)  # (WIDTH,)

    if OWN and part == PARTS - 1:  # the part with the fewest tokens
        key = tl.load(k + b * k_strides[0] + kv * k_strides[1] + d * k_strides[3], mask=inside, other=0.0)
        value = tl.load(v + b * v_strides[0] + kv * v_strides[1] + d * v_strides[3], mask=inside, other=0.0)
        key, key_scale = encode(key.to(tl.float32), inside)
        value, value_scale = encode(value.to(tl.float32), inside)
        if (h == kv * groups) & (here < room):  # the first of those that share a key writes it
            at = codes_row + here * codes_strides[2] + d * codes_strides[3]
            at_scale = scales_row + here * scales_strides[2]
            tl.store(key_codes + at, key.to(tl.int8), mask=inside)
            tl.store(value_codes + at, value.to(tl.int8), mask=inside)
            tl.store(key_scales + at_scale, key_scale)
            tl.store(value_scales + at_scale, value_scale)
        top, total, weight, fade = one(top, total, tl.sum(key * query, 0) * key_scale.to(tl.float32))
        answer = answer * fade + (weight * value_scale.to(tl.float32)) * value

    leave(out, sums, row, part, top, total, answer, d, D, D, PARTS)
    meet(out, sums, arrived, row, D, WIDTH, PARTS, PADDED)
