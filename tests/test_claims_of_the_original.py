"""The original research's own figures against closed forms: which of them cannot be, and by how much.

GPT-2 medium in bfloat16, caches of 1,024 slots, one sequence, an RTX A6000; MB are 10^6 bytes.
"""

import pytest

from kvgpt import costs, itemised
from kvgpt.config import GPTConfig
from kvgpt.datasheets import sheet
from kvgpt.recipes import Variant

MEDIUM, DTYPE, A6000 = GPTConfig.preset("gpt2-medium"), "bfloat16", sheet("a6000")


def cache(name, length=1024):
    return costs.cache_bytes(MEDIUM, Variant.parse(name), 1, length, DTYPE) / 1e6


def step(name, held, fed=1):
    return itemised.step(MEDIUM, Variant.parse(name), DTYPE, 1, held, fed)


def test_its_model_has_another_projection_in_every_layer_than_gpt2_medium():
    C = MEDIUM.n_embd
    positions, extra = MEDIUM.block_size * C, MEDIUM.n_layer * (C * C + C)
    assert costs.parameters(MEDIUM) - positions + extra == 378_964_992  # "378.96M parameters"
    assert extra * 2 / 1e6 == pytest.approx(50.4, abs=0.05)


def test_int8_saved_all_that_it_can_save():
    saved = cache("v1") - cache("v2")
    assert saved / 920.8 == pytest.approx(0.053, abs=5e-4)  # "should save 50%, but saves only 5%"
    assert saved == pytest.approx(920.8 - 872.0, abs=0.1)


def test_sharing_cannot_increase_memory():
    assert 771.6 + cache("v3") - 1.06 == pytest.approx(820.9, abs=0.05)  # v0's peak and a cache of half the layers
    assert 771.6 < 820.9 - 40, "the peak at T = 32 is v0's, to the digit: no cache is in it"


def test_v4_saved_more_than_there_is():
    assert 920.8 - 807.6 > cache("v1") == pytest.approx(100.66, abs=0.005)
    assert cache("v1") - cache("v3") < 920.8 - 848.8


def test_capacity_was_found_for_1024_slots():
    budget, weights = 47.2 * 2**30 / 1e6, costs.weights_bytes(MEDIUM, DTYPE) / 1e6
    a_sequence = {
        name: (budget - weights) / users for name, users in (("v1", 491), ("v2", 594), ("v3", 745), ("v4", 1867))
    }
    assert a_sequence["v1"] == pytest.approx(cache("v1") + 1, abs=0.2)
    beside = {name: one - cache(name) for name, one in a_sequence.items()}
    assert beside["v4"] == pytest.approx(0.8, abs=0.1), "v4 reads codes back as v2 does, and shares as v3 does"
    assert beside["v2"] == pytest.approx(32.2, abs=0.1) and beside["v3"] == pytest.approx(16.7, abs=0.2)
    assert cache("v1", 1024) / cache("v1", 512) == 2


def test_the_roof_was_that_of_another_card():
    ridge = A6000.rate(DTYPE) / A6000.bandwidth
    assert ridge == pytest.approx(201.6, abs=0.05)
    assert sheet("a100-80gb").rate(DTYPE) / A6000.bandwidth == pytest.approx(406.25)  # "ridge point: AI = 406"


# Its roofline table: a prompt of 400 tokens or more, a token after one, and the GFLOP and GB that its counters saw.
def test_its_prefill_counted_none_of_the_products():
    short, long = (step("v1", 0, fed).demand for fed in (400, 1024))
    assert short.flops / 2.32e9 == pytest.approx(108, abs=1) and long.flops / 2.32e9 == pytest.approx(289, abs=1)
    assert long.flops / long.bytes > A6000.rate(DTYPE) / A6000.bandwidth, "not bound by memory, as it says"
    assert 39e12 < short.flops / 6.158e-3 < long.flops / 6.158e-3 < A6000.rate(DTYPE)


def test_what_its_prefill_counted_are_the_other_operations():
    """Softmax runs in a fused kernel that multiplies and adds more than its definition: the order is what is right."""
    assert sum(item.others for item in step("v1", 0, 400)) < 2.32e9 < sum(item.others for item in step("v1", 0, 1024))


def test_its_decode_step_multiplied_less_than_a_step_can():
    demand = step("v1", 512).demand
    assert demand.flops / 0.45e9 == pytest.approx(1.68, abs=0.01)
    assert 0.88e9 / demand.bytes == pytest.approx(1.16, abs=0.01), "its traffic is plausible"
    assert pytest.approx(0.37, abs=0.005) == 146.3 / (0.51 * 768)  # "19% efficiency"
    assert demand.flops / demand.bytes == pytest.approx(1.0, abs=0.01)  # "AI = 0.51"


def test_v0_grew_with_the_operations_and_not_with_bandwidth():
    grown = step("v0", 1023).demand.flops / 12.1e-3  # of a step at T = 1,024, by its own fit
    assert grown / A6000.rate(DTYPE) == pytest.approx(0.36, abs=0.005)


def test_the_floors_of_its_phases():
    """At T = 512 on its card, ms a token: the head, the MLP, and of attention the products and the vectors read."""
    one = step("v1", 256)  # the middle of a generation of 512
    ms = {
        item: 1e3 * getattr(one, item).demand.bytes / A6000.bandwidth
        for item in ("head", "mlp", "projections", "attending")
    }
    assert ms == pytest.approx({"head": 0.134, "mlp": 0.525, "projections": 0.2625, "attending": 0.033}, abs=5e-4)
