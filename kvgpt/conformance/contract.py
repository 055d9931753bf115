"""A8, A14 to A17, T1 and T2: what a cache refuses, leaves alone and is honest about."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache, Unsupported
from kvgpt.conformance.promise import promise
from kvgpt.conformance.scene import LONGEST
from kvgpt.conformance.subject import Stage
from kvgpt.storages import tensors_of


def contents(cache: KVCache) -> list[Tensor]:
    """Copies of all that is read back."""
    return [part.clone() for layer in range(cache.shape.n_layer) for part in cache.read(layer)]


def unchanged(cache: KVCache, before: list[Tensor], length: int, what: str) -> None:
    """Assert that a cache holds ``length`` tokens and reads back as before, to the bit."""
    assert cache.length == length, f"{what}: length went from {length} to {cache.length}"
    same = all(same_bits(one, other) for one, other in zip(before, contents(cache), strict=True))
    assert same, f"{what}: what is read back changed"


def same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def refused(what: str, attempt: Callable[[], object], *kinds: type[Exception], naming: str = "") -> None:
    """Assert that an attempt raises one of ``kinds``, with ``naming`` in its message."""
    try:
        attempt()
    except kinds as error:
        assert naming in str(error), f"{what}: the error does not name {naming!r}: {error}"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__} instead of {kinds[0].__name__}: {error}") from error
    else:
        raise AssertionError(f"{what} was accepted")


@promise("A8", "A full cache refuses one more token before anything is written; full to the last it serves.", "keeps")
def overflow(stage: Stage, room: int, n: int) -> None:
    if "window" in stage.subject.abilities:  # its own room never ends, that of the learned positions does
        engine, full = stage.engine(), LONGEST
        engine.prefill(stage.ids(full))
        cache, attempt = engine.cache, lambda: engine.prefill(stage.ids(n))
    else:
        cache, full = stage.cache(room), room
        stage.step(cache, room)
        attempt = lambda: cache.attend(0, *stage.vectors(n))  # noqa: E731 - one of two
    before = contents(cache)
    for number in (full, n):
        refused(f"{n} tokens more than its {full}", attempt, ValueError, naming=str(number))
    unchanged(cache, before, full, f"{n} tokens more than its {full}")


@promise(
    "T1",
    "attend() is attention over what read() returns, no further off than plain torch in the same dtype.",
    "no window",
)
def attention(stage: Stage, sizes: tuple[int, ...]) -> None:
    cache = stage.cache()
    for number, n in enumerate(sizes if "keeps" in stage.subject.abilities else sizes[:1]):
        for layer in range(cache.shape.n_layer):
            q, k, v = stage.vectors(n, 10 * number + layer)
            stage.attended(cache, layer, q, cache.attend(layer, q, k, v))
        cache.advance(n)


@promise("T2", "The same tokens in the same cuts give the same bits, after reset() too.")
def repeats(stage: Stage, sizes: tuple[int, ...]) -> None:
    ids, engine, other = stage.ids(sum(sizes)), stage.engine(), stage.engine()
    first = stage.feed(engine, ids, sizes)
    assert same_bits(first, stage.feed(other, ids, sizes)), "two caches gave different answers"
    engine.reset()
    assert same_bits(first, stage.feed(engine, ids, sizes)), "after reset() the same tokens gave other answers"


@promise(
    "A14", "Addresses stay, and a decode step reads position, never length, as a captured graph must.", "graphable"
)
def graph(stage: Stage, sizes: tuple[int, ...], n: int) -> None:
    cache, guide = stage.cache(), stage.cache()
    homes = [tensor.data_ptr() for tensor in tensors_of(cache)]
    for number, size in enumerate(sizes):
        stage.step(cache, size, salt=10 * number)
        stage.step(guide, size, salt=10 * number)
    for number in range(n):
        right = stage.step(guide, 1, salt=1000 + 10 * number)
        length = cache.length
        # What a graph saw when it was captured: a host length of another step, and the device's position of this one.
        cache._rewind(length - 1)
        cache.position.fill_(length)
        out = [cache.attend(layer, *stage.vectors(1, 1000 + 10 * number + layer)) for layer in range(len(right))]
        cache._rewind(length + 1)
        for one, other in zip(right, out, strict=True):
            assert torch.equal(one, other), "a decode step depends on the host's length"
    if "crop" in stage.subject.abilities:
        cache.crop(1)
    cache.reset()
    assert [tensor.data_ptr() for tensor in tensors_of(cache)] == homes, (
        "a tensor moved: a captured graph reads the old"
    )


@promise("A15", "What is given is neither changed nor kept: the caller may reuse it at once.")
def ownership(stage: Stage, n: int) -> None:
    cache, twin = stage.cache(), stage.cache()
    layers = range(cache.shape.n_layer)
    for layer in layers:
        given, right = stage.vectors(n, layer), twin.attend(layer, *stage.vectors(n, layer))
        copies = [part.clone() for part in given]
        out = cache.attend(layer, *given)
        assert all(map(same_bits, given, copies)), "attend() changed the tensors that it was given"
        for part in given[1:]:
            part.fill_(7)
        assert torch.equal(cache.attend(layer, given[0]), right), "a follower saw what the caller wrote into k and v"
        out.fill_(7)
        assert torch.equal(cache.attend(layer, given[0]), right), "an answer is memory of the cache's own"
    if "keeps" not in stage.subject.abilities:
        return
    length = cache.length
    for one in (cache, twin):
        one.advance(n)
    assert length == 0, "length is a live reference, not a value"
    alike = partial(_alike, stage, cache, twin)
    alike(50, "what the caller wrote into k and v is in the cache")
    if "select" in stage.subject.abilities:
        rows = torch.zeros(1, dtype=torch.int64)
        cache.select(rows)
        twin.select([0])
        rows.fill_(99)
        alike(60, "select() kept the caller's list of rows")


@promise("A16", "What does not fit is a TypeError or a ValueError before anything is written.", "keeps")
def contract(stage: Stage, sizes: tuple[int, ...], n: int) -> None:
    cache, twin = stage.cache(), stage.cache()
    for number, size in enumerate(sizes):
        stage.step(cache, size, 10 * number)
        stage.step(twin, size, 10 * number)
    before = contents(cache)
    for what, layer, given in _misfits(stage, cache, n):
        attempt: Callable[[], object] = partial(cache.attend, layer, *given)  # type: ignore[arg-type]  # misfits are
        refused(what, attempt, ValueError, TypeError)
        unchanged(cache, before, sum(sizes), what)
    odd: list[tuple[str, Any]] = [("select", rows) for rows in ([], [stage.scene.batch], [-1], [[0]])]
    odd += [("crop", length) for length in (-1, sum(sizes) + 1)]
    for operation, argument in odd:
        what = f"{operation}({argument}) after {sum(sizes)} tokens of {stage.scene.batch} rows"
        refused(what, partial(getattr(cache, operation), argument), ValueError, TypeError, Unsupported)
        unchanged(cache, before, sum(sizes), what)
    _alike(stage, cache, twin, 1000, "what was refused changed the next answer")


@promise("A17", "What a cache does not offer it refuses as Unsupported; what it offers, it does.", "keeps")
def honesty(stage: Stage, n: int) -> None:
    cache, n = stage.cache(), min(n, stage.window[0] or n)  # a window that has moved on may refuse crop()
    stage.step(cache, n)
    before, abilities = contents(cache), stage.subject.abilities
    calls: list[tuple[str, list[Any]]] = [("crop", [n]), ("select", [[0]]), ("fork", []), ("state", []), ("reset", [])]
    for operation, arguments in calls:
        try:
            getattr(cache, operation)(*arguments)
        except Unsupported:
            assert operation not in abilities, f"{operation}() is overridden, and unsupported all the same"
            unchanged(cache, before, n, f"{operation}() that is not offered")
        else:
            assert operation in abilities, f"{operation}() is not offered, and passed"
        if operation == "select" and "select" in abilities:
            assert cache.shape.batch_size == 1, "select([0]) left shape.batch_size as it was"
            cache = stage.cache()
            stage.step(cache, n)
            before = contents(cache)
    if "lossy" in abilities and "map" not in abilities:
        refused(
            "round_trip() of a lossy cache without one",
            partial(cache.round_trip, 0, *stage.vectors(1)[1:]),
            Unsupported,
        )


def _alike(stage: Stage, cache: KVCache, twin: KVCache, salt: int, otherwise: str) -> None:
    """Assert that two caches answer the next token alike."""
    assert all(map(torch.equal, stage.step(cache, 1, salt), stage.step(twin, 1, salt))), otherwise


def _misfits(stage: Stage, cache: KVCache, n: int) -> Iterator[tuple[str, int, list[Tensor | None]]]:
    q, k, v = stage.vectors(n)
    wrong = torch.float32 if k.dtype != torch.float32 else torch.bfloat16
    more, longer = stage.vectors(n, batch=stage.scene.batch + 1), stage.vectors(n + 1)
    yield "a layer that is not there", cache.shape.n_layer, [q, k, v]
    yield "a negative layer", -1, [q, k, v]
    yield "vectors of another batch", 0, [*more]
    yield "keys of another batch", 0, [q, more[1], more[2]]
    yield "keys of more heads", 0, [q, torch.cat([k, k], dim=1), torch.cat([v, v], dim=1)]
    yield "a query of fewer heads", 0, [q[:, :0], k, v]
    yield "no tokens at all", 0, [part[:, :, :0] for part in (q, k, v)]
    yield "values of another length than keys", 0, [q, k, longer[2]]
    yield "more keys than queries", 0, [q, longer[1], longer[2]]
    yield "keys of another head_dim", 0, [q, k[..., :-1], v[..., :-1]]
    yield f"keys and values in {wrong}", 0, [q, k.to(wrong), v.to(wrong)]
    yield "keys and values on another device", 0, [q, k.to("meta"), v.to("meta")]
    yield "keys without values", 0, [q, k, None]
    yield "a follower before its owner", 0, [q]
