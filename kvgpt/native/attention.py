"""Attention of one query a row over what a cache holds, vectors or codes, in one pass over it: one call.

Codes become numbers in registers, scales multiply scores and weights, and the softmax is accumulated tile by tile. What
it computes, ``in_tiles`` of kvgpt/caches/codecs/attention.py says in plain PyTorch.

Shapes: B rows; H heads of queries, a multiple of the K of keys; S tokens; D head_dim.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from kvgpt.native.build import NUMBERS, library, profiled

VECTORS = {dtype: f"Plain<{number}>" for dtype, number in NUMBERS.items()}  # what holds them as they are

Loop = Callable[..., None]


class Place(ctypes.Structure):
    """Where K or V of a layer lies; see attention.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("vectors", "scales", "minima")),
        *((name, ctypes.c_int64) for name in ("row", "head", "token", "part_row", "part_head")),
    )


@cache
def loop(keys: str | None, values: str | None, dtype: torch.dtype, head_dim: int) -> Loop | None:
    """What attends to keys and values that are kept as these types of attention.cpp, with queries of ``dtype``; None
    where nothing does here.
    """
    if not keys or not values or dtype not in NUMBERS:
        return None
    made = library("attention", NUMBER=NUMBERS[dtype], KEYS=keys, VALUES=values, D=str(head_dim))
    if made is None:
        return None
    count, address = ctypes.c_int64, ctypes.c_void_p
    made.attend.argtypes = [
        ctypes.c_int,
        count,
        count,
        count,
        count,
        address,
        ctypes.c_float,
        address,
        address,
        address,
    ]
    made.attend.restype = None
    return made.attend


def attend(run: Loop, q: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """Q (B, H, 1, D) with keys and values, each the vectors or codes (B, K, S, n) and what there is a token (B, K, S)
    -> (B, H, 1, D). ``run`` is the :func:`loop` for them; nothing is checked.
    """
    (B, H, _, D), (_, K, S, _) = q.shape, keys[0].shape
    q, out = q.contiguous(), torch.empty_like(q, memory_format=torch.contiguous_format)
    places = [ctypes.byref(_place(*side)) for side in (keys, values)]
    profiled("attend", run, torch.get_num_threads(), B, K, H // K, S, q.data_ptr(), D**-0.5, *places, out.data_ptr())
    return out


def _place(vectors: Tensor, scales: Tensor | None = None, minima: Tensor | None = None) -> Place:
    addresses = (None if part is None else part.data_ptr() for part in (vectors, scales, minima))
    return Place(*addresses, *vectors.stride()[:3], *((0, 0) if scales is None else scales.stride()[:2]))
