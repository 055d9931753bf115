"""Closed forms of work against torch's own count, and against what must hold for any model."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import kvgpt
from kvgpt import costs
from kvgpt.conformance import strategies
from kvgpt.recipes import Variant

CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=32, vocab_size=50, block_size=64)


def counted(engine, ids):
    """Floating-point operations of the matrix products and of attention as torch counts them.

    Engines are given float64: a CPU's packed products of float32 are none that torch's counter knows.
    """
    engine.model.eval()
    with FlopCounterMode(display=False) as counter:
        engine.prefill(ids)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["dense+matmul", "dense+matmul+cla2", "dense+matmul+cla3"])
@pytest.mark.parametrize(("heads", "inner"), [(None, None), (1, None), (1, 80)])
@pytest.mark.parametrize(("batch", "held"), [(1, 0), (3, 0), (2, 7), (1, 40)])
def test_the_operations_of_a_decode_step_are_those_that_torch_counts(name, heads, inner, batch, held):
    config = kvgpt.GPTConfig(**{**vars(CONFIG), "n_kv_head": heads, "n_inner": inner})
    engine = kvgpt.Engine(strategies.model(config, 0, torch.float64), name, batch)
    ids = strategies.ids(batch, held + 1, 0) % 50
    if held:
        engine.prefill(ids[:, :held])
    bill = costs.bill(config, Variant.parse(name), "float32", batch)
    assert bill.step(held).flops == counted(engine, ids[:, held:])


def test_a_cache_that_recomputes_pays_for_every_token_again():
    kept, none = (costs.bill(CONFIG, Variant(storage), "float32", 2) for storage in ("dense", "none"))
    assert none.step(held=9) == none.step(held=0, fed=10) == none.step(held=4, fed=6)
    assert none.step(9).flops == kept.step(0, fed=10).flops > 5 * kept.step(9).flops
    assert none.token_bytes == 0 and none.step(9).bytes < kept.step(9).bytes


@given(
    held=st.integers(0, 60),
    fed=st.integers(1, 20),
    batch=st.integers(1, 9),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_feeding_at_once_asks_for_no_more_than_feeding_one_by_one(held, fed, batch, dtype):
    bill = costs.bill(CONFIG, Variant("int8", "cla2"), dtype, batch)
    at_once, steps = bill.step(held, fed), costs.total(bill.step(held + t) for t in range(fed))
    heads = 2 * CONFIG.vocab_size * CONFIG.n_embd * batch * (fed - 1)  # logits of the last position only
    assert at_once.flops == pytest.approx(steps.flops - heads)
    assert at_once.bytes <= steps.bytes


def test_bytes_of_a_step_by_hand():
    config = kvgpt.GPTConfig(n_layer=2, n_head=1, n_embd=4, vocab_size=8, block_size=16)
    step = costs.bill(config, Variant("dense"), "float32", batch_size=3).step(held=5)
    weights = costs.parameters(config) - 16 * 4  # the positions' rows are looked up, not streamed
    assert step.bytes == 4 * (weights + 3 * (5 + 1) * 2 * 2 * 4 + 3 * 8)


def test_published_models_read_what_is_published():
    medium = kvgpt.GPTConfig.preset("gpt2-medium")
    step = costs.bill(medium, Variant("dense"), "bfloat16", 1).step(held=511)
    assert step.bytes == pytest.approx(758e6, rel=2e-3) and step.flops == pytest.approx(0.76e9, rel=5e-3)


def test_a_cache_whose_bytes_nobody_knows_is_held_to_the_weights():
    unknown, dense = (costs.bill(CONFIG, variant, "float32", 1) for variant in (None, Variant("dense")))
    assert unknown.step(9).flops == dense.step(9).flops and unknown.step(9).bytes < dense.step(9).bytes
    assert unknown.working_set(9) == costs.weights_bytes(CONFIG, "float32")


def test_a_training_step_multiplies_three_times_as_much_as_all_logits_need():
    engine = kvgpt.Engine(strategies.model(CONFIG, 0, torch.float64), "dense+matmul", 2)
    ids = strategies.ids(2, 9, 0) % 50
    with FlopCounterMode(display=False) as counter:
        engine.prefill(ids, every_position=True)
    forward = counter.get_total_flops()
    unseen = 2 * 4 * CONFIG.n_embd * CONFIG.n_layer * (9 * 9 - 9 * 10 // 2)  # pairs that the mask hides
    assert costs.training_step(CONFIG, "float32", 2, 9).flops == 3 * (forward - unseen)
