"""Saved caches: whatever is in the file, it is refused and nothing is changed, or the engine goes on."""

import json

import damage
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import kvgpt
from kvgpt import registry
from kvgpt.conformance import strategies

CONFIG = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=4, vocab_size=7, block_size=6)
MODEL = strategies.model(CONFIG, 0, torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the file of each example is written anew."""
    return tmp_path_factory.mktemp("examples")


def header_of(path):
    """What the engine noted in the header of a saved cache."""
    raw = path.read_bytes()
    metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    return json.loads(metadata["kvgpt-cache"])


@pytest.fixture(scope="module", params=["v0", "v1", "v2", "dense-cat"])
def saved(request, folder):
    """A variant, and what its engine saved after three tokens."""
    engine = kvgpt.Engine(MODEL, request.param)
    engine.prefill(torch.tensor([[1, 2, 3]]))
    engine.save(folder / "cache.safetensors")
    return request.param, (folder / "cache.safetensors").read_bytes()


@settings(max_examples=2 * settings.default.max_examples)
@given(data=st.data())
def test_a_saved_cache_of_anything_is_refused_or_runs(saved, folder, data):
    variant, valid = saved
    path = folder / "damaged.safetensors"
    path.write_bytes(data.draw(damage.tensor_files(valid)))
    engine, ids = kvgpt.Engine(MODEL, variant), torch.tensor([[4]])
    engine.prefill(ids)
    if damage.refused(lambda: engine.load(path), path):
        assert engine.cache.length == 1, "a refused file changed the length"
        again = kvgpt.Engine(MODEL, variant)
        again.prefill(ids)
        assert torch.equal(engine.decode(ids), again.decode(ids)), "a refused file changed what is held"
    else:
        assert engine.decode(ids).shape == (1, CONFIG.vocab_size)


@settings(max_examples=2 * settings.default.max_examples)
@given(data=st.data())
def test_a_saved_cache_with_any_header_is_refused_or_runs(saved, folder, data):
    variant, valid = saved
    path = folder / "header.safetensors"
    path.write_bytes(valid)
    changed = data.draw(damage.altered(header_of(path))).decode("utf-8", "replace")
    save_file(load_file(path), path, {"kvgpt-cache": changed})
    engine = kvgpt.Engine(MODEL, variant)
    if not damage.refused(lambda: engine.load(path), path):
        engine.decode(torch.tensor([[4]]))


@pytest.mark.parametrize("name", ["format", "n_layer", "length"])
def test_true_is_no_number_in_a_saved_cache(folder, name):
    one = kvgpt.Engine(strategies.model(kvgpt.GPTConfig(1, 1, 4, 7, 6), 0, torch.float32))
    one.prefill(torch.tensor([[1]]))
    path = folder / "true.safetensors"
    one.save(path)
    header = header_of(path)
    assert header[name] == 1
    save_file(load_file(path), path, {"kvgpt-cache": json.dumps(header | {name: True})})
    with pytest.raises(ValueError, match=f"{name} (is )?True"):
        one.load(path)


@pytest.mark.parametrize("token", [7, -1, 2**62])
def test_a_history_outside_the_vocabulary_is_refused(folder, token):
    engine = kvgpt.Engine(MODEL, "v0")
    engine.prefill(torch.tensor([[1, 2, 3]]))
    path = folder / "history.safetensors"
    engine.save(path)
    save_file({"history": torch.tensor([[1, token, 3]])}, path, {"kvgpt-cache": json.dumps(header_of(path))})
    before = engine.decode(torch.tensor([[4]]))
    engine.crop(3)
    with pytest.raises(ValueError, match="a token id outside 0 to 6"):
        engine.load(path)
    assert torch.equal(engine.decode(torch.tensor([[4]])), before)


def filled(storage, n):
    """A cache with room for 6 tokens, after ``n`` of them."""
    cache = registry.resolve(storage).cache(kvgpt.KVShape(2, 1, 2, 4, 6, torch.float32, torch.device("cpu")))
    k = torch.randn(1, 2, max(n, 1), 4, generator=torch.Generator().manual_seed(n))
    for layer in range(2 * (n > 0)):
        cache.attend(layer, k, k, k)
    if n:
        cache.advance(n)
    return cache


def longer(part):
    """What was saved after 3 tokens, as if it were after 7."""
    axis = part.shape.index(3)
    return torch.cat([part, part, part], dim=axis).narrow(axis, 0, 7)


@pytest.mark.parametrize(
    ("storage", "parts"),
    [("dense", "kv"), ("dense-cat", "kv"), ("int8", ["codes", "scales"]), ("int8+window", ["codes", "scales"])],
)
def test_the_names_in_a_saved_cache_stay_those_of_the_files_that_are_there(storage, parts):
    assert set(filled(storage, 3).state()) == {f"{part}.{layer}" for part in parts for layer in (0, 1)}


@pytest.mark.parametrize("storage", ["dense", "dense-cat", "int8", "window", "dense-cat+window+sinks1"])
@pytest.mark.parametrize("length", [0, 1, 6])
def test_a_cache_of_any_length_is_restored_from_empty_to_full(storage, length):
    cache, other = filled(storage, length), filled(storage, 2)
    other.restore({name: tensor.clone() for name, tensor in cache.state().items()}, length)
    assert other.length == int(other.position) == length
    for layer in range(2):
        assert all(map(torch.equal, cache.read(layer), other.read(layer)))


@pytest.mark.parametrize("storage", ["dense", "dense-cat", "int8", "window", "int8+window", "dense-cat+window"])
@pytest.mark.parametrize(
    ("change", "length", "said"),
    [
        (lambda state, name: state | {"odd": state[name]}, 3, "tensor 'odd' and 0 more are on one side only"),
        (lambda state, name: {}, 3, r"tensor '(k|codes)\.0' and 3 more are on one side only"),
        (
            lambda state, name: state | {name: state[name][..., :1]},
            3,
            r"is torch\.\w+ of shape .*1\): this cache holds",
        ),
        (
            lambda state, name: state | {name: state[name].double()},
            3,
            r"is torch\.float64 of shape \((2, )?1, 2, 3, 4\)",
        ),
        (lambda state, name: state, 2, r"of shape \((2, )?1, 2, 3(, 4)?\): this cache holds .* \((2, )?1, 2, 2"),
        (lambda state, name: state, -1, "-1 tokens to restore: this cache has room for max_length=6"),
        (
            lambda state, name: {one: longer(part) for one, part in state.items()},
            7,
            "7 tokens to restore|this cache holds",
        ),
    ],
)
def test_what_does_not_fit_a_cache_is_not_restored_and_changes_nothing(storage, change, length, said):
    state, cache, twin = filled(storage, 3).state(), filled(storage, 2), filled(storage, 2)
    with pytest.raises(ValueError, match=said):
        cache.restore(change(state, min(state)), length)
    assert cache.length == int(cache.position) == 2
    for layer in range(2):
        assert all(map(torch.equal, cache.read(layer), twin.read(layer)))
    q = torch.ones(1, 2, 1, 4)
    assert torch.equal(cache.attend(0, q, q, q), twin.attend(0, q, q, q))
