"""The items of a step: together the step's bill, and each what torch counts while a model makes the step."""

import pytest
import torch
from counted_operations import OperationCounter
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import kvgpt
from kvgpt import costs, itemised
from kvgpt.conformance import strategies
from kvgpt.measure.phases import PHASES, divided, marked
from kvgpt.recipes import Variant

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=50, block_size=64)
PLAIN = ("none", "dense", "dense-cat", "int8-unfused")  # whose steps read every vector back
CODES = ("int8", "int4", "k8v4", "fp8")  # which do so for several tokens, and for one scale scores instead


def engine(name, config, batch):
    """In float64, through attention that is written out."""
    return kvgpt.Engine(strategies.model(config, 0, torch.float64), f"{name}+matmul", batch, calibration=ids(2, 9))


def ids(batch, length):
    return strategies.ids(batch, length, 0) % 50


@given(
    config=strategies.configs(),
    variant=st.sampled_from(sorted(kvgpt.variants().values(), key=repr)),
    dtype=st.sampled_from(sorted(costs.ITEM_BYTES)),
    batch=st.integers(1, 5),
    held=st.integers(0, 40),
    fed=st.integers(1, 9),
)
def test_the_items_add_up_to_the_bill(config, variant, dtype, batch, held, fed):
    step = itemised.step(config, variant, dtype, batch, held, fed)
    assert step.demand == costs.bill(config, variant, dtype, batch).step(held, fed)
    assert {item.phase for item in step} == set(PHASES) - {"other"}
    assert [item for phase in PHASES for item in step.phase(phase)] == list(step)
    assert step.attending.again == 0 or costs.shared(config, variant).sharing


SHAPES = (
    ({}, None),
    ({"n_kv_head": 1, "n_inner": 40}, None),
    ({"position_embedding": "rotary"}, "cla2"),
)


@pytest.mark.parametrize(("shape", "sharing"), SHAPES, ids=str)
@pytest.mark.parametrize(("name", "batch", "fed"), [(n, 3, 1) for n in PLAIN] + [(n, 2, 7) for n in CODES])
def test_operations_of_each_phase_are_those_that_torch_counts_while_a_prompt_is_fed(name, shape, sharing, batch, fed):
    config = kvgpt.GPTConfig(**{**vars(CONFIG), **shape})
    variant = Variant(name, sharing)
    step = itemised.step(config, variant, "float64", batch, 0, fed)
    check(step, counted(engine(variant.canonical, config, batch), ids(batch, fed)), config, batch * fed * (fed - 1) / 2)


@pytest.mark.parametrize("name", [*PLAIN, "int8-unfused+cla2", "dense+cla3"])
def test_operations_of_each_phase_are_those_that_torch_counts_while_a_token_is_decoded(name):
    batch, held = 3, 6
    decoding, tokens = engine(name, CONFIG, batch), ids(batch, held + 1)
    decoding.prefill(tokens[:, :held])
    step = itemised.step(CONFIG, Variant.parse(name), "float64", batch, held)
    unseen = batch * held * (held + 1) / 2 if name == "none" else 0
    check(step, counted(decoding, tokens[:, held:]), CONFIG, unseen)


def counted(engine, tokens):
    """Operations of matrix products by phase, and all others by phase, of one step: a counter in the clock's place."""
    products, others, twin = FlopCounterMode(display=False), OperationCounter(), engine.fork()
    with products:
        of_products = marked(lambda: engine.prefill(tokens), engine.model, products.get_total_flops)
    with others:
        of_others = marked(lambda: twin.prefill(tokens), twin.model, lambda: others.count)
    return divided(of_products).seconds, divided(of_others).seconds


def check(step, counts, config, unseen):
    """``unseen`` pairs of a query and a key are hidden by the mask, and computed in each layer all the same."""
    extra = unseen * config.n_layer
    hidden = {"attention": (4 * config.n_embd * extra, 6 * config.n_head * extra)}
    for phase in PHASES:
        found = [counted[phase] - more for counted, more in zip(counts, hidden.get(phase, (0, 0)), strict=True)]
        items = step.phase(phase)
        assert [sum(item.products for item in items), sum(item.others for item in items)] == found, phase
