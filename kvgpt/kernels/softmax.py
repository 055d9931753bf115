"""The softmax accumulated tile by tile, in powers of two. Milakov and Gimelshein 2018, arXiv 1805.02867.

Scores come multiplied by log2(e), since 2 to their power is one instruction of a GPU. The largest so far starts as the
lowest finite number and not as minus infinity, so that a part without tokens has a share of 0, and not of NaN.
"""

import triton
import triton.language as tl

LOWEST = tl.constexpr(-3.4028234663852886e38)  # of float32


@triton.jit
def step(top, total, scores):
    """A tile of scores, -inf where there is no token: the new statistics, the tile's weights, and what all sums so far
    are to be multiplied by.
    """
    peak = tl.maximum(top, tl.max(scores, 0))
    fade = tl.exp2(top - peak)
    weights = tl.exp2(scores - peak)
    return peak, total * fade + tl.sum(weights, 0), weights, fade


@triton.jit
def one(top, total, score):
    """:func:`step` for a single token."""
    peak = tl.maximum(top, score)
    fade = tl.exp2(top - peak)
    weight = tl.exp2(score - peak)
    return peak, total * fade + weight, weight, fade
