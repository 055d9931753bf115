"""Every cache keeps the contract of its base: what it checks, copies and returns."""

import dataclasses

import pytest
import torch

import kvgpt
from kvgpt import registry
from kvgpt.attention import PATHS, banded_mask, matmul, sdpa
from kvgpt.conformance import oracle, tolerances
from kvgpt.recipes import STORAGES
from kvgpt.storages import tensors_of

SHAPE = kvgpt.KVShape(2, 2, 2, 4, 6, torch.float64, torch.device("cpu"))
STORED = [name for name in STORAGES if name != "none"]


def cache_of(storage):
    return registry.resolve(kvgpt.Variant(storage)).cache(SHAPE)


def vectors(n, seed=0, heads=2):
    return torch.randn(2, heads, n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("path", [sdpa, matmul])
@pytest.mark.parametrize(("T", "S"), [(1, 1), (1, 5), (5, 5), (3, 7), (2, 3)])
@pytest.mark.parametrize("heads", [2, 6])
def test_attention_sees_the_last_positions_and_all_before_them(path, T, S, heads):
    q, k, v = vectors(T, 1, heads), vectors(S, 2), vectors(S, 3)
    assert tolerances.exact(path(q, k, v), oracle.attention(q, k, v))


@pytest.mark.parametrize("path", [sdpa, matmul])
@pytest.mark.parametrize(("window", "sinks"), [(1, 0), (4, 0), (4, 2), (9, 8)])
def test_attention_under_a_mask_that_is_given_sees_what_that_says(path, window, sinks):
    q, k, v = vectors(4, 1), vectors(9, 2), vectors(9, 3)
    mask = banded_mask(torch.arange(5, 9), torch.arange(9), window, sinks)
    assert tolerances.exact(path(q, k, v, mask), oracle.attention(q, k, v, window, sinks))


@pytest.mark.parametrize("storage", STORED)
def test_read_returns_what_came_before_and_the_steps_own_once_appended(storage):
    cache, k, v = cache_of(storage), vectors(3, 0), vectors(3, 1)
    cache.attend(0, k, k, v)
    assert [part.shape for part in cache.read(0)] == [(2, 2, 3, 4)] * 2
    assert [part.size(2) for part in cache.read(1)] == [0, 0], "layer 1 has appended nothing"
    cache.attend(1, k, k, v)
    cache.advance(3)
    one = vectors(1, 2)
    assert cache.read(0)[0].size(2) == 3, "the step's own come when they are appended"
    cache.attend(0, one, one, one)
    assert cache.read(0)[0].size(2) == 4 and cache.length == 3


@pytest.mark.parametrize("storage", STORED)
def test_what_is_stored_is_a_copy(storage):
    cache, k, v = cache_of(storage), vectors(3, 0), vectors(3, 1)
    cache.append(0, k, v)
    before = [part.clone() for part in cache.read(0)]
    kept = k.clone()
    k.zero_()
    v.zero_()
    assert all(torch.equal(old, new) for old, new in zip(before, cache.read(0), strict=True)), "the caller's memory"
    assert not torch.equal(kept, k)


@pytest.mark.parametrize("storage", STORED)
def test_slots_that_were_never_written_are_never_read(storage):
    cache, k = cache_of(storage), vectors(2)
    for tensor in tensors_of(cache):
        if tensor is not cache.position:
            tensor.fill_(float("nan") if tensor.is_floating_point() else 77)
    out = cache.attend(0, k, k, k)
    assert torch.equal(out, cache_of(storage).attend(0, k, k, k))


@pytest.mark.parametrize("storage", list(STORAGES))
@pytest.mark.parametrize(
    ("layer", "shapes", "message"),
    [
        (2, [(2, 2, 1, 4)] * 3, "layer 2: this cache holds layers 0 to 1"),
        (0, [(3, 2, 1, 4)] * 3, r"q has shape \(3, 2, 1, 4\)"),
        (0, [(2, 3, 1, 4), (2, 2, 1, 4), (2, 2, 1, 4)], r"q has shape \(2, 3, 1, 4\): expected \(2, a multiple of 2"),
        (0, [(2, 2, 1, 4), (2, 2, 2, 4), (2, 2, 1, 4)], r"k has shape \(2, 2, 2, 4\): expected \(2, 2, 1, 4\)"),
        (0, [(2, 2, 1, 4), (2, 2, 1, 4), (2, 1, 1, 4)], r"v has shape \(2, 1, 1, 4\)"),
        (0, [(2, 2, 7, 4)] * 3, "0 tokens held and 7 more: this cache has room for max_length=6"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(storage, layer, shapes, message):
    cache = cache_of(storage)
    with pytest.raises(ValueError, match=message):
        cache.attend(layer, *(torch.zeros(shape, dtype=torch.float64) for shape in shapes))
    k = vectors(6)
    assert torch.equal(cache.attend(0, k, k, k), cache_of(storage).attend(0, k, k, k))


def test_the_wrong_dtype_half_a_pair_and_a_follower_without_its_owner_are_refused():
    cache, k = cache_of("dense"), vectors(1)
    with pytest.raises(ValueError, match=r"k is torch\.float32 on cpu: this cache holds torch.float64"):
        cache.attend(0, k, k.float(), k.float())
    with pytest.raises(ValueError, match="k and v come together"):
        cache.attend(0, k, k, None)
    with pytest.raises(ValueError, match="layer 0 has appended 0 tokens in this step, the query has 1"):
        cache.attend(0, k)


def test_advance_ends_a_step_of_its_own_length_only():
    cache, k = cache_of("dense"), vectors(2)
    cache.attend(0, k, k, k)
    with pytest.raises(ValueError, match=r"advance\(2\): the layers appended \[2, 0\] tokens"):
        cache.advance(2)
    cache.attend(1, k, k, k)
    for n in (0, 1, 3):
        with pytest.raises(ValueError, match=rf"advance\({n}\)"):
            cache.advance(n)
    cache.advance(2)
    assert cache.length == int(cache.position) == 2


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("length", [-1, 4])
def test_crop_to_a_length_that_was_never_reached_is_refused(storage, length):
    cache, k = cache_of(storage), vectors(3)
    for layer in range(2):
        cache.attend(layer, k, k, k)
    cache.advance(3)
    with pytest.raises(ValueError, match=rf"crop\({length}\): this cache has seen 3 tokens"):
        cache.crop(length)
    assert cache.length == 3


@pytest.mark.parametrize("rows", [[], [2], [-1], [[0]]])
def test_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(ValueError, match="expected row numbers from 0 to 1"):
        cache_of("dense").select(rows)


@pytest.mark.parametrize("storage", ["dense", "int8", "int8-unfused", "int4", "k8v4", "fp8"])
def test_addresses_of_a_preallocated_cache_never_change(storage):
    cache, k = cache_of(storage), vectors(2)

    def addresses():
        return [tensor.data_ptr() for tensor in tensors_of(cache)]

    before = addresses()
    for _ in range(2):
        for layer in range(2):
            cache.attend(layer, k, k, k)
        cache.advance(2)
    cache.crop(1)
    cache.reset()
    assert addresses() == before


def test_the_cache_that_keeps_nothing_holds_nothing_between_steps():
    cache, k = cache_of("none"), vectors(3)
    for layer in range(2):
        cache.attend(layer, k, k, k)
    assert cache.nbytes == 2 * k.nbytes, "one layer's vectors, within the step"
    with pytest.raises(ValueError, match="one layer at a time, and not now those of layer 0"):
        cache.read(0)
    cache.advance(3)
    assert cache.nbytes == 0 and cache.length == 3
    with pytest.raises(ValueError, match="NoCache kept none of the 3 tokens before this step"):
        cache.attend(0, k, k, k)


@pytest.mark.parametrize(("end", "arguments"), [("advance", [3]), ("reset", []), ("crop", [0])])
def test_the_cache_that_keeps_nothing_has_nothing_to_read_before_a_step_and_after_it(end, arguments):
    cache, k = cache_of("none"), vectors(3)
    for _ in range(2):
        for layer in range(2):
            with pytest.raises(ValueError, match="holds the vectors of one layer at a time"):
                cache.read(layer)
        cache.reset()
        for layer in range(2):
            cache.attend(layer, k, k, k)
        getattr(cache, end)(*arguments)


@pytest.mark.parametrize("variant", [*STORAGES, "dense+window", "int8+window+sinks1"])
@pytest.mark.parametrize("path", ["sdpa", "matmul"])
def test_whatever_a_cache_makes_lies_on_its_own_device(variant, path):
    cache = registry.resolve(variant).cache(dataclasses.replace(SHAPE, device=torch.device("meta")))
    cache.attention = PATHS[path]
    for n in (4, 1, 1, 3, 1):
        if cache.stateless or (cache.window is None and cache.length + n > SHAPE.max_length):
            cache.reset()
        for layer in range(2):
            q = vectors(n).to("meta")
            assert cache.attend(layer, q, q, q).device.type == "meta"
            assert all(part.device.type == "meta" for part in cache.read(layer))
        cache.advance(n)
    assert {tensor.device.type for tensor in tensors_of(cache)} == {"meta"}


def test_a_second_append_in_one_step_is_refused_with_the_way_out():
    cache, k = cache_of("dense"), vectors(2)
    cache.attend(0, k, k, k)
    with pytest.raises(ValueError, match=r"layer 0 already appended 2 tokens: .*; reset\(\) or crop\(\) first"):
        cache.attend(0, k, k, k)


def test_crop_of_a_window_that_has_moved_on_is_refused():
    cache, k = registry.resolve("window").cache(SHAPE), vectors(7)
    for layer in range(2):
        cache.attend(layer, k, k, k)
    cache.advance(7)
    with pytest.raises(ValueError, match=r"crop\(7\): a window of 6 has let go of some of 7 tokens; reset\(\) instead"):
        cache.crop(7)
    assert cache.length == 7


@pytest.mark.parametrize(
    ("operation", "arguments"), [("reset", []), ("crop", [0]), ("select", [[0]]), ("fork", []), ("state", [])]
)
def test_what_a_class_does_not_override_is_refused_by_its_name(operation, arguments):
    class Least(kvgpt.KVCache):
        lossy = True
        append = read = nbytes = None

    with pytest.raises(kvgpt.Unsupported, match=rf"Least does not support {operation}\(\)"):
        getattr(Least(SHAPE), operation)(*arguments)
    with pytest.raises(kvgpt.Unsupported, match="Least does not support state"):
        Least(SHAPE).restore({}, 0)
    with pytest.raises(kvgpt.Unsupported, match="Least is lossy and does not say what its vectors read back as"):
        Least(SHAPE).round_trip(0, None, None)


@pytest.mark.parametrize("field", ["n_layer", "batch_size", "n_head", "head_dim", "max_length"])
def test_a_shape_without_room_is_refused(field):
    with pytest.raises(ValueError, match=f"{field}=0: a cache needs at least 1"):
        kvgpt.KVShape(**{**vars(SHAPE), field: 0})
