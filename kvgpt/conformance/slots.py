"""A10 and A11: neither what lies in unused slots nor how tensors lie in memory has a part in any answer."""

from math import isfinite

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache
from kvgpt.conformance.contract import same_bits
from kvgpt.conformance.promise import promise
from kvgpt.conformance.scene import LONGEST
from kvgpt.conformance.subject import Stage
from kvgpt.storages import tensors_of

POISON = (float("nan"), float("inf"), 1e30)
ODD_ROOM = 37  # no other size in sight: a tensor with this much room is where tokens are kept


@promise("A10", "What was never written, and what was let go, has no part in any answer.", "keeps", "no window")
def poison(stage: Stage, sizes: tuple[int, ...], kept: int, n: int) -> None:
    clean = stage.cache(ODD_ROOM)
    answers = [stage.step(clean, size, salt=10 * number) for number, size in enumerate(sizes)]
    for value in POISON:
        cache = stage.cache(ODD_ROOM)
        for room in _rooms(cache):
            _fill(room, value)
        for number, size in enumerate(sizes):
            out = stage.step(cache, size, salt=10 * number)
            same = all(same_bits(one, other) for one, other in zip(answers[number], out, strict=True))
            assert same, f"{value} in slots that were never written changed an answer"
    if "crop" not in stage.subject.abilities:
        return
    clean.crop(kept)
    right = stage.step(clean, n, salt=1000)
    for value in POISON:
        cache, short = stage.cache(ODD_ROOM), stage.cache(ODD_ROOM)
        for room in (*_rooms(cache), *_rooms(short)):
            _fill(room, value)
        rooms = _rooms(cache), _rooms(short)
        marks = [room.clone() for room in rooms[1]]
        for number, size in enumerate(sizes):
            stage.step(cache, size, salt=10 * number)
        if kept:
            _prefix(stage, short, sizes, kept)
        cache.crop(kept)
        for room, other, mark in zip(*rooms, marks, strict=True):
            let_go = _bits(other) == _bits(mark)  # what a cache that saw only the first tokens never wrote
            _bits(room)[let_go] = _bits(mark)[let_go]
        out = stage.step(cache, n, salt=1000)
        same = all(same_bits(one, other) for one, other in zip(right, out, strict=True))
        assert same, f"{value} in slots that crop({kept}) let go changed an answer"


@promise("A11", "How the given tensors lie in memory, and how much room there is, changes nothing.", "keeps")
def layout(stage: Stage, sizes: tuple[int, ...]) -> None:
    plain, roomy, strided = stage.cache(), stage.cache(stage.room if stage.window[0] else 2 * LONGEST), stage.cache()
    for number, n in enumerate(sizes):
        for layer in range(plain.shape.n_layer):
            q, k, v = stage.vectors(n, 10 * number + layer)
            plain.attend(layer, q, k, v)
            for what, cache, given in (
                ("more room", roomy, (q, k, v)),
                ("strided vectors", strided, tuple(map(_elsewhere, (q, k, v)))),
            ):
                out = cache.attend(layer, *given)
                pairs = zip(plain.read(layer), cache.read(layer), strict=True)
                assert all(same_bits(one, other) for one, other in pairs), f"{what}: something else was stored"
                if stage.window[0] is None:
                    stage.attended(cache, layer, q, out)
        for cache in (plain, roomy, strided):
            cache.advance(n)


def _rooms(cache: KVCache) -> list[Tensor]:
    """The preallocated tensors of a cache: those with room for every token of every row and head."""
    shape = cache.shape
    enough = shape.batch_size * shape.n_head * shape.max_length
    return [tensor for tensor in tensors_of(cache) if tensor.numel() >= enough and tensor.is_contiguous()]


def _fill(room: Tensor, value: float) -> None:
    if not room.is_floating_point():
        value = 77
    elif isfinite(value):
        value = min(value, torch.finfo(room.dtype).max)
    room.copy_(torch.tensor(value))  # converted, for not every dtype has an infinity


def _bits(room: Tensor) -> Tensor:
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return room.view(kinds[room.element_size()])


def _elsewhere(part: Tensor) -> Tensor:
    """The same numbers with other strides, at an offset in a larger storage."""
    B, H, T, D = part.shape
    home = part.new_full((B, T, H, D + 3), 5.0).transpose(1, 2)
    home[..., 2 : 2 + D] = part
    return home[..., 2 : 2 + D]


def _prefix(stage: Stage, cache: KVCache, sizes: tuple[int, ...], kept: int) -> None:
    """Feed the first ``kept`` tokens of what was fed in chunks of these sizes."""
    for number, size in enumerate(sizes):
        n = min(size, kept - cache.length)
        if n < 1:
            return
        for layer in range(cache.shape.n_layer):
            cache.attend(layer, *(part[:, :, :n] for part in stage.vectors(size, 10 * number + layer)))
        cache.advance(n)
