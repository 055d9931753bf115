"""Decode attention over 4-bit codes, see :mod:`kvgpt.caches.codecs.int4`: append, quantise, attend and merge in one
launch.

A vector is minimum + scale * code, here middle + scale * (code - 8), so that no digits are lost where numbers cancel.
The middle of a key adds to its score once for all numbers of q, that of a value to all numbers of the answer once.
A byte holds a number of each half of the vector: both halves go side by side through the loop, and each byte is read
once. Laid out as :mod:`kvgpt.kernels.dense`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kvgpt.caches.codecs.int4 import Int4
from kvgpt.kernels import twin
from kvgpt.kernels.plan import Meeting, padded, plan
from kvgpt.kernels.rounding import LARGEST, TINY, down, finite, up, whole
from kvgpt.kernels.softmax import LOWEST, one, step
from kvgpt.kernels.split import leave, meet, span

LEVELS, MIDDLE = tl.constexpr(15), tl.constexpr(8)


def decode(
    q: Tensor, k: Tensor | None, v: Tensor | None, codes: Tensor, scales: Tensor, minima: Tensor,
    position: Tensor, meeting: Meeting,
) -> Tensor:  # fmt: skip
    """Quantise k, v (B, H_kv, 1, D) into ``codes`` (2, B, H_kv, S, D / 2 rounded up), ``scales`` and ``minima``
    (2, B, H_kv, S) at ``position``, and attend with q (B, H or a multiple, 1, D) over position + 1 tokens.
    k = v = None: they are there already. Returns q's shape.
    """
    it = plan(q, codes.size(2), codes.size(3), meeting)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    new = (q, q) if k is None or v is None else (k, v)
    strides = [x.stride() for x in (q, *new, codes[0], scales[0], minima[0])]
    half = codes.size(4)
    _decode[it.grid](
        q, *new, *codes, *scales, *minima, position, out, *it.place, *it.sizes, *strides,
        OWN=k is not None, HALF=half, WIDTH=padded(half), **it.constants,
    )  # fmt: skip
    return out


def plain(
    q: Tensor, k: Tensor | None, v: Tensor | None, codes: Tensor, scales: Tensor, minima: Tensor,
    position: Tensor, meeting: Meeting,
) -> Tensor:  # fmt: skip
    """The same in plain PyTorch."""
    return twin.decode(q, k, v, Int4(q.size(3)), {"codes": codes, "scales": scales, "minima": minima}, position)


@triton.jit
def encode(low, high, in_low, in_high):
    """The halves of a vector, float32 and 0 where they are not inside: the codes of both, float32, scale and minimum,
    fp16.
    """
    least = tl.minimum(tl.min(tl.where(in_low, low, LARGEST), 0), tl.min(tl.where(in_high, high, LARGEST), 0))
    most = tl.maximum(tl.max(tl.where(in_low, low, -LARGEST), 0), tl.max(tl.where(in_high, high, -LARGEST), 0))
    minimum = down(least)
    wide = minimum.to(tl.float32)
    scale = tl.maximum(up(tl.div_rn(most - wide, LEVELS * 1.0)).to(tl.float32), TINY)
    valid = finite(low) & finite(high)
    low = whole(tl.div_rn(low - wide, tl.zeros_like(low) + scale), 0, LEVELS)
    high = whole(tl.div_rn(high - wide, tl.zeros_like(high) + scale), 0, LEVELS)
    flaw = tl.where(valid, 0.0, float("nan"))
    low, high = tl.where(valid & in_low, low, 0.0), tl.where(valid & in_high, high, 0.0)
    return low, high, (scale + flaw).to(tl.float16), (wide + flaw).to(tl.float16)


@triton.jit
def halves(byte):
    """The codes less MIDDLE in the low and the high four bits of each byte, float32."""
    return (byte & 15).to(tl.float32) - MIDDLE, (byte >> 4).to(tl.float32) - MIDDLE


@triton.jit
def _decode(
    q, k, v, key_codes, value_codes, key_scales, value_scales, key_minima, value_minima,
    position, out, sums, arrived, heads, groups, room, factor,
    q_strides, k_strides, v_strides, codes_strides, scales_strides, minima_strides,
    OWN: tl.constexpr, D: tl.constexpr, HALF: tl.constexpr,
    WIDTH: tl.constexpr, TILE: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    b, h = row // heads, row % heads
    kv = h // groups
    d = tl.arange(0, WIDTH)
    in_low, in_high = d < HALF, d < D - HALF
    q += b * q_strides[0] + h * q_strides[1]
    q_low = tl.load(q + d * q_strides[3], mask=in_low, other=0.0).to(tl.float32) * factor
    q_high = tl.load(q + (HALF + d) * q_strides[3], mask=in_high, other=0.0).to(tl.float32) * factor
    q_sum = tl.sum(q_low + q_high, 0)
    codes_row = b * codes_strides[0] + kv * codes_strides[1]
    scales_row = b * scales_strides[0] + kv * scales_strides[1]
    minima_row = b * minima_strides[0] + kv * minima_strides[1]

    here = tl.load(position)
    first, last = span(tl.minimum(here if OWN else here + 1, room), part, PARTS, TILE)
    top, total = tl.full((), LOWEST, tl.float32), tl.full((), 0.0, tl.float32)
    low, high = tl.zeros((TILE, WIDTH), tl.float32), tl.zeros((TILE, WIDTH), tl.float32)
    middles = tl.zeros((TILE,), tl.float32)
    for start in tl.range(first, last, TILE, num_stages=STAGES):
        place = start + tl.arange(0, TILE)  # int64, as position is: offsets pass 2**31
        there = place < last
        mask = there[:, None] & in_low[None, :]
        at = codes_row + place[:, None] * codes_strides[2] + d[None, :] * codes_strides[3]
        at_scale, at_minimum = scales_row + place * scales_strides[2], minima_row + place * minima_strides[2]
        key = tl.load(key_codes + at, mask=mask, other=0, eviction_policy="evict_first")  # (TILE, WIDTH)
        value = tl.load(value_codes + at, mask=mask, other=0, eviction_policy="evict_first")
        key_scale = tl.load(key_scales + at_scale, mask=there, other=0.0, eviction_policy="evict_first")  # (TILE,)
        value_scale = tl.load(value_scales + at_scale, mask=there, other=0.0, eviction_policy="evict_first")
        key_minimum = tl.load(key_minima + at_minimum, mask=there, other=0.0, eviction_policy="evict_first")
        value_minimum = tl.load(value_minima + at_minimum, mask=there, other=0.0, eviction_policy="evict_first")
        key_scale, value_scale = key_scale.to(tl.float32), value_scale.to(tl.float32)
        key_low, key_high = halves(key)
        product = tl.sum(key_low * q_low[None, :] + key_high * q_high[None, :], 1)
        scores = product * key_scale + q_sum * (key_minimum.to(tl.float32) + MIDDLE * key_scale)
        top, total, weights, fade = step(top, total, tl.where(there, scores, float("-inf")))
        scaled = (weights * value_scale)[:, None]
        value_low, value_high = halves(value)
        low, high = low * fade + scaled * value_low, high * fade + scaled * value_high
        middles = middles * fade + weights * (value_minimum.to(tl.float32) + MIDDLE * value_scale)
    middle = tl.sum(middles, 0)
    low, high = tl.sum(low, 0) + middle, tl.sum(high, 0) + middle  # each (WIDTH,)

    if OWN and part == PARTS - 1:  # the part with the fewest tokens
        k += b * k_strides[0] + kv * k_strides[1]
        v += b * v_strides[0] + kv * v_strides[1]
        key_low = tl.load(k + d * k_strides[3], mask=in_low, other=0.0).to(tl.float32)
        key_high = tl.load(k + (HALF + d) * k_strides[3], mask=in_high, other=0.0).to(tl.float32)
        value_low = tl.load(v + d * v_strides[3], mask=in_low, other=0.0).to(tl.float32)
        value_high = tl.load(v + (HALF + d) * v_strides[3], mask=in_high, other=0.0).to(tl.float32)
        key_low, key_high, key_scale, key_minimum = encode(key_low, key_high, in_low, in_high)
        value_low, value_high, value_scale, value_minimum = encode(value_low, value_high, in_low, in_high)
        if (h == kv * groups) & (here < room):  # the first of those that share a key writes it
            at = codes_row + here * codes_strides[2] + d * codes_strides[3]
            tl.store(key_codes + at, (key_low + 16 * key_high).to(tl.uint8), mask=in_low)
            tl.store(value_codes + at, (value_low + 16 * value_high).to(tl.uint8), mask=in_low)
            tl.store(key_scales + scales_row + here * scales_strides[2], key_scale)
            tl.store(value_scales + scales_row + here * scales_strides[2], value_scale)
            tl.store(key_minima + minima_row + here * minima_strides[2], key_minimum)
            tl.store(value_minima + minima_row + here * minima_strides[2], value_minimum)
        key_scale, value_scale = key_scale.to(tl.float32), value_scale.to(tl.float32)
        product = tl.sum((key_low - MIDDLE) * q_low + (key_high - MIDDLE) * q_high, 0)
        score = product * key_scale + q_sum * (key_minimum.to(tl.float32) + MIDDLE * key_scale)
        top, total, weight, fade = one(top, total, score)
        scaled, middle = weight * value_scale, weight * (value_minimum.to(tl.float32) + MIDDLE * value_scale)
        low = low * fade + scaled * (value_low - MIDDLE) + middle
        high = high * fade + scaled * (value_high - MIDDLE) + middle

    leave(out, sums, row, part, top, total, low, d, HALF, D, PARTS)
    leave(out, sums, row, part, top, total, high, HALF + d, D, D, PARTS)
    meet(out, sums, arrived, row, D, 2 * WIDTH, PARTS, PADDED)
