"""The tokens of a row divided among programs, so that a batch of one fills a GPU, and put together in the same launch.

Flash-Decoding (Dao, Haziza, Massa and Sizov 2023, https://pytorch.org/blog/flash-decoding/) divides the keys; each part
gives its sums and the statistics of its softmax. Here the last program of a row to arrive adds them up, in the order of
the parts, whichever that program is. How many parts there are follows from the room and the rows, never from the
length, so that a captured graph serves every length.
"""

import triton
import triton.language as tl

from kvgpt.kernels.softmax import LOWEST


@triton.jit
def span(length, part, PARTS: tl.constexpr, TILE: tl.constexpr):
    """The first of a part's tokens and the one after its last: whole tiles, and none where there are too few."""
    each = tl.cdiv(tl.cdiv(length, TILE), PARTS) * TILE
    first = part * each
    return first, tl.minimum(first + each, length)


@triton.jit
def leave(out, sums, row, part, top, total, mixed, d, end, D: tl.constexpr, PARTS: tl.constexpr):
    """Put down a part's share of an answer, ``mixed`` at the places d < end: where it is the only one, the answer."""
    if PARTS == 1:
        tl.store(out + row * D + d, (mixed / total).to(out.dtype.element_ty), mask=d < end)
    else:
        at = sums + (row * PARTS + part) * (D + 2)
        tl.store(at + d, mixed, mask=d < end)
        tl.store(at + D, top)
        tl.store(at + D + 1, total)


@triton.jit
def meet(out, sums, arrived, row, D: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr):
    """Store a row's answer once all of its parts have left their shares; the count begins again for the next launch."""
    if PARTS > 1:
        tl.debug_barrier()  # every thread has stored its share before one of them counts this part as arrived
        if tl.atomic_add(arrived + row, 1, sem="acq_rel") == PARTS - 1:
            tl.store(arrived + row, 0)
            d = tl.arange(0, WIDTH)
            answer = _gathered(sums, row, d, D, PARTS, PADDED)
            tl.store(out + row * D + d, answer.to(out.dtype.element_ty), mask=d < D)


@triton.jit
def _gathered(sums, row, d, D: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr):
    """The answer of a row (WIDTH,). Loads pass by the first-level cache, which does not see what other
    multiprocessors stored.
    """
    part = tl.arange(0, PADDED)
    there = part < PARTS
    at = sums + (row * PARTS + part) * (D + 2)  # (PADDED,)
    top = tl.load(at + D, mask=there, other=LOWEST, cache_modifier=".cg")
    total = tl.load(at + D + 1, mask=there, other=0.0, cache_modifier=".cg")
    mask = there[:, None] & (d < D)[None, :]
    mixed = tl.load(at[:, None] + d[None, :], mask=mask, other=0.0, cache_modifier=".cg")  # (PADDED, WIDTH)
    weights = tl.exp2(top - tl.max(top, 0))
    return tl.sum(mixed * weights[:, None], 0) / tl.sum(total * weights, 0)
