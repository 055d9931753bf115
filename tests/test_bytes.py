"""Bytes: what a cache says, what its storages hold and the closed form are one number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt import costs
from kvgpt.conformance import strategies
from kvgpt.storages import distinct_bytes, tensors_of

PUBLISHED = {
    "nano": 1_652_096,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def built(config, variant, batch, length, dtype):
    with torch.device("meta"):
        shape = kvgpt.KVShape(
            config.n_slot, batch, config.kv_heads, config.head_dim, length, DTYPES[dtype], torch.device("meta")
        )
    recipe = kvgpt.Engine(kvgpt.GPT(kvgpt.GPTConfig(2, 1, 2, 3, 4)), variant).recipe
    return recipe.cache(shape)


@pytest.mark.parametrize(("preset", "count"), PUBLISHED.items())
def test_presets_have_exactly_the_published_number_of_parameters(preset, count):
    config = kvgpt.GPTConfig.preset(preset)
    counted = sum(parameter.numel() for parameter in kvgpt.GPT(config, seed=None).parameters())
    assert counted == costs.parameters(config) == count


@given(config=strategies.configs(), sharing=st.sampled_from([None, "cla2", "cla3"]))
def test_the_closed_form_counts_the_parameters_of_any_model(config, sharing):
    config = kvgpt.GPTConfig(**{**vars(config), "sharing": sharing})
    counted = sum(parameter.numel() for parameter in kvgpt.GPT(config, seed=None).parameters())
    assert counted == costs.parameters(config)


@pytest.mark.parametrize("variant", list(kvgpt.variants()))
@given(data=st.data())
def test_nbytes_is_what_the_storages_hold_and_what_the_formula_says(variant, data):
    config, seed = data.draw(strategies.configs()), data.draw(strategies.seeds)
    batch, length = data.draw(strategies.batches), data.draw(strategies.lengths)
    dtype = data.draw(st.sampled_from(sorted(DTYPES)))
    plain = strategies.model(config, seed, DTYPES[dtype])
    engine = kvgpt.Engine(plain, variant, batch, max_length=length, calibration=strategies.ids(2, 9, seed))
    engine.prefill(strategies.ids(batch, length, seed))
    formula = costs.cache_bytes(config, kvgpt.Variant.parse(variant), batch, length, dtype)
    held = distinct_bytes(tensors_of(engine.cache)) - engine.cache.position.nbytes
    assert engine.cache.nbytes == held == formula


@pytest.mark.parametrize(
    ("variant", "ratio"),
    [
        ("int8", 0.515625),
        ("dense+cla2", 0.5),
        ("int8+cla2", 0.2578125),
        ("int8+cla2+qalign", 0.2578125),
        ("int4", 0.28125),
        ("int4+cla2", 0.140625),
        ("k8v4", 0.3984375),
        ("fp8", 0.515625),
    ],
)
def test_head_size_64_gives_the_ratios_to_bfloat16_that_the_design_promises(variant, ratio):
    config = kvgpt.GPTConfig.preset("gpt2-medium")
    shared = kvgpt.GPTConfig(**{**vars(config), "sharing": kvgpt.Variant.parse(variant).sharing})
    assert config.head_dim == 64
    dense = built(config, "dense", 2, 512, "bfloat16").nbytes
    assert dense == 2 * 512 * 98_304, "GPT-2 medium keeps 98,304 bytes a token in bfloat16"
    assert built(shared, variant.partition("+")[0], 2, 512, "bfloat16").nbytes / dense == ratio


@pytest.mark.parametrize("variant", list(kvgpt.variants()))
def test_select_and_fork_hold_what_the_formula_says(variant):
    config = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=31, block_size=12)
    engine = kvgpt.Engine(strategies.model(config, 0), variant, 2, calibration=strategies.ids(2, 9, 0))
    engine.prefill(strategies.ids(2, 12, 0))
    engine.select([1, 0, 1])
    formula = costs.cache_bytes(config, kvgpt.Variant.parse(variant), 3, 12, "float64")
    assert engine.cache.nbytes == engine.fork().cache.nbytes == formula


@pytest.mark.parametrize(("head_dim", "vectors"), [(1, 3 + 5), (7, 9 + 8), (63, 65 + 36), (64, 66 + 36)])
def test_codes_of_four_bits_take_whole_bytes_of_each_vector(head_dim, vectors):
    config = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=2 * head_dim, vocab_size=31, block_size=12)
    built_bytes = built(config, "k8v4", 2, 5, "bfloat16").nbytes
    assert built_bytes == costs.cache_bytes(config, kvgpt.Variant("k8v4"), 2, 5, "bfloat16") == 2 * 5 * 3 * 2 * vectors
