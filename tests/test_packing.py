"""Packed weights: the same products, of the weights as they are now, and as they were never."""

import copy

import pytest
import torch
import torch.nn.functional as F

from kvgpt import GPT, Engine, GPTConfig, packing
from kvgpt.packing import MOST_ROWS, linear, pack

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def small_weights_are_packed_too(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", dict.fromkeys(packing.LEAST, 0))


@pytest.fixture
def weight():
    return torch.randn(65, 33, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    return GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=8)).requires_grad_(False).eval()


@needs_onednn
@pytest.mark.parametrize("shape", [(1, 1, 33), (4, 8, 33), (3, 33), (MOST_ROWS, 1, 33)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_product_is_the_product(weight, shape, bias):
    x, b = torch.randn(shape), torch.randn(65) if bias else None
    with torch.inference_mode():
        torch.testing.assert_close(pack(weight)(x, b), F.linear(x, weight, b))


@needs_onednn
def test_it_serves_few_rows_without_gradients_and_only_those(weight, monkeypatch):
    packed, calls = pack(weight), []
    monkeypatch.setattr(packing.Packed, "__call__", lambda self, x, bias: calls.append(tuple(x.shape)))
    few, many = torch.ones(1, MOST_ROWS, 33), torch.ones(1, MOST_ROWS + 1, 33)
    with torch.no_grad():
        linear(few, weight, None, packed)
        torch.testing.assert_close(linear(many, weight, None, packed), F.linear(many, weight))
        torch.testing.assert_close(linear(few, weight, None, None), F.linear(few, weight))
    torch.testing.assert_close(linear(few, weight, None, packed), F.linear(few, weight))
    assert calls == [(1, MOST_ROWS, 33)]


@needs_onednn
@pytest.mark.parametrize("change", [lambda w: w.mul_(2), lambda w: w.set_(torch.ones(65, 33))])
def test_a_weight_that_has_changed_is_used_as_it_is(weight, change):
    packed, x = pack(weight), torch.ones(1, 33)
    with torch.no_grad():
        change(weight)
        torch.testing.assert_close(linear(x, weight, None, packed), F.linear(x, weight))
        torch.testing.assert_close(pack(weight)(x, None), F.linear(x, weight))


@needs_onednn
def test_one_weight_is_packed_once_and_let_go_with_its_last_user(weight):
    first = pack(weight)
    assert pack(weight) is first and pack(weight.clone()) is not first
    before = len(packing._packed)
    del first
    assert len(packing._packed) == before - 1


@pytest.mark.parametrize("odd", [torch.float64, torch.float16])
def test_where_there_is_no_kernel_nothing_is_packed(weight, odd):
    with torch.inference_mode():
        assert pack(weight.clone()) is None, "nothing tells when it is written to"
    assert pack(weight.to(odd)) is None and pack(torch.empty(2, 3, device="meta")) is None and pack(weight.t()) is None


@needs_onednn
def test_a_weight_that_a_plain_product_reads_faster_is_not_packed(weight, monkeypatch):
    monkeypatch.setitem(packing.LEAST, torch.float32, weight.nbytes)
    assert pack(weight) is not None and pack(weight[1:]) is None


def test_without_onednn_plain_products_serve(weight, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert pack(weight) is None


@needs_onednn
def test_an_engine_packs_its_model_and_shares_that_with_every_engine_over_the_same_weights(model):
    one, other = Engine(model, "v1"), Engine(model, "v3")
    assert one.model.packed_head is other.model.packed_head is not None
    assert one.model.h[0].mlp.c_fc.packed is other.model.h[0].mlp.c_fc.packed is not None


@needs_onednn
def test_every_product_of_a_decode_step_is_packed(model, monkeypatch):
    engine, ids = Engine(model, "v1"), torch.ones(1, 1, dtype=torch.int64)
    expected = engine.decode(ids)
    monkeypatch.setattr(packing, "F", None)
    engine.reset()
    assert torch.equal(engine.decode(ids), expected)


def test_a_copy_has_weights_and_products_of_its_own(model):
    ids = torch.ones(1, 3, dtype=torch.int64)
    plain = model(ids)
    twin = copy.deepcopy(Engine(model).model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
        assert not twin(ids).any()
        torch.testing.assert_close(model(ids), plain)


def test_a_state_has_the_checkpoints_names_alone(model):
    names = set(model.state_dict())
    assert set(model.pack().state_dict()) == names
