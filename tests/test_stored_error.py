"""The error of stored vectors: none where they are kept as they are, else the map's own, and a drift where they age."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt.caches.dense import DenseCache
from kvgpt.conformance import strategies
from kvgpt.measure.stored_error import stored_error

FADING = 0.999  # by which a planted cache multiplies what it holds, each step


class Ages(DenseCache):
    """Writes what it holds again in every step, and a little less of it."""

    def append(self, layer, k, v):
        self.k[layer][:, :, : self.length] *= FADING
        self.v[layer][:, :, : self.length] *= FADING
        super().append(layer, k, v)


class DropsValues(DenseCache):
    """Keeps keys, and zeros for values."""

    def write(self, layer, where, k, v):
        super().write(layer, where, k, torch.zeros_like(v))


def measured(variant, batch=2, length=20, dtype=torch.float32, **sizes):
    config = kvgpt.GPTConfig(**{"n_layer": 3, "n_head": 2, "n_embd": 32, "vocab_size": 31, "block_size": 40, **sizes})
    engine = kvgpt.Engine(strategies.model(config, 0, dtype), variant, batch, 30)
    return stored_error(engine.model, engine.cache, strategies.ids(batch, length, 3))


@given(
    variant=st.sampled_from(["v1", "v3", "dense-cat", "dense+matmul"]),
    batch=st.integers(1, 3),
    length=st.integers(1, 30),
    layers=st.integers(1, 4),
    kv_heads=st.sampled_from([1, 2, 4]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_what_is_stored_exactly_has_no_error_at_any_age(variant, batch, length, layers, kv_heads, dtype):
    found = measured(variant, batch, length, dtype, n_layer=layers, n_head=4, n_kv_head=kv_heads)
    assert (found.error, found.drift) == (0.0, 0.0)


@pytest.mark.parametrize("variant", ["v2", "v4"])
def test_a_lossy_map_has_its_own_error_whatever_the_age(variant):
    found = measured(variant)
    assert 0.002 < found.error < 0.01, "half a scale of 1 / 127 at most, evenly spread, of vectors of 16"
    assert abs(found.drift) < found.error / 4


def test_fewer_bits_lose_more():
    slim, mixed, wide = (measured(variant).error for variant in ("int4", "k8v4", "v2"))
    assert wide < mixed < slim < 0.15, "half a scale of 2 / 15 at most, evenly spread, of vectors of 16"
    assert mixed == pytest.approx(((slim**2 + wide**2) / 2) ** 0.5, rel=0.1), "half of it is as that of each"


def test_the_error_is_what_the_map_does_to_keys_and_to_values():
    config = kvgpt.GPTConfig(n_layer=1, n_head=2, n_embd=32, vocab_size=31, block_size=20)
    engine, ids = kvgpt.Engine(strategies.model(config, 0), "v2", 2), strategies.ids(2, 20, 3)
    dense = kvgpt.Engine(engine.model, "v1", 2)
    dense.prefill(ids)
    both = [
        ((read - kept).square().mean() / kept.square().mean())
        for kept, read in zip(dense.cache.read(0), engine.cache.round_trip(0, *dense.cache.read(0)), strict=True)
    ]
    found = stored_error(engine.model, engine.cache, ids)
    assert found.error == pytest.approx(float((sum(both) / 2).sqrt()), rel=1e-9)


def test_values_that_are_lost_count_as_much_as_keys_would():
    assert measured(DropsValues).error == pytest.approx(0.5**0.5)


def test_a_cache_that_rewrites_old_tokens_drifts():
    found = measured(Ages, length=20)  # the oldest tenth: ages 19 and 18; the newest: 1 and 0
    least, most = (1 - FADING**18) - (1 - FADING), 1 - FADING**19
    assert 0 < least < found.drift < most and 0 < found.error < most


@pytest.mark.parametrize("variant", ["v0", "dense+window", "int8+window+sinks4"])
def test_what_keeps_nothing_or_lets_go_of_old_tokens_has_no_such_figure(variant):
    assert measured(variant) is None
