"""Weights made ready: the same products, of the weights as they are now, and as they were never."""

import copy

import pytest
import torch
import torch.nn.functional as F

from kvgpt import GPT, Engine, GPTConfig, compiling, packing
from kvgpt.native import rows as native
from kvgpt.packing import MOST_ROWS, linear, ready

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
LACKING = compiling.uncompilable(torch.device("cpu"))
needs_a_compiler = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))


@pytest.fixture(autouse=True)
def small_weights_are_made_ready_too(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", dict.fromkeys(packing.LEAST, 0))


@pytest.fixture
def weight():
    return torch.randn(65, 33, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    return GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=8)).requires_grad_(False).eval()


@needs_onednn
@pytest.mark.parametrize("shape", [(4, 8, 33), (9, 33), (MOST_ROWS, 1, 33)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_of_blocks_is_the_product(weight, shape, bias):
    x, b = torch.randn(shape), torch.randn(65) if bias else None
    with torch.inference_mode():
        torch.testing.assert_close(ready(weight, MOST_ROWS).product(x, b), F.linear(x, weight, b))


@needs_a_compiler
def test_few_rows_take_the_weight_as_it_lies_and_more_take_the_blocks(weight, monkeypatch):
    calls = []
    real = native.few_rows
    monkeypatch.setattr(native, "few_rows", lambda x, *others: calls.append(len(x)) or real(x, *others))
    other = weight.clone()
    of_few, of_more = ready(weight, native.MOST_ROWS), ready(other, native.MOST_ROWS + 1)
    assert of_few.blocks is None and (of_more.blocks is not None) == packing._has_kernel(weight.dtype)
    with torch.inference_mode():
        for rows in (1, native.MOST_ROWS, native.MOST_ROWS + 1):
            x = torch.ones(rows, 33)
            torch.testing.assert_close(linear(x, weight, None, of_few), F.linear(x, weight))
            torch.testing.assert_close(linear(x, other, None, of_more), F.linear(x, weight))
    assert calls == [1, 1, native.MOST_ROWS, native.MOST_ROWS]
    assert ready(weight, native.MOST_ROWS + 1) is of_few, "ready for a few rows and for more"


@needs_onednn
def test_without_a_compiler_the_blocks_serve_one_row_too(weight, monkeypatch):
    monkeypatch.setattr(native, "loop", lambda weight, dtype: None)
    of_one, x = ready(weight, 1), torch.ones(1, 33)
    assert of_one.blocks is not None
    with torch.inference_mode():
        torch.testing.assert_close(linear(x, weight, None, of_one), F.linear(x, weight))


@needs_onednn
def test_it_serves_few_rows_without_gradients_and_only_those(weight, monkeypatch):
    packed, calls = ready(weight, MOST_ROWS), []
    few, many = torch.ones(MOST_ROWS, 33), torch.ones(MOST_ROWS + 1, 33)
    assert packed.product(many, None) is None
    real = packing.Ready.product
    monkeypatch.setattr(packing.Ready, "product", lambda self, x, bias: calls.append(len(x)) or real(self, x, bias))
    with torch.no_grad():
        for x, of in ((few, packed), (many, packed), (few, None)):
            torch.testing.assert_close(linear(x, weight, None, of), F.linear(x, weight))
    torch.testing.assert_close(linear(few, weight, None, packed), F.linear(few, weight))
    assert calls == [MOST_ROWS, MOST_ROWS + 1], "not with gradients, and not where nothing was made ready"


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("change", [lambda w: w.mul_(2), lambda w: w.set_(torch.ones(65, 33))])
def test_a_weight_that_has_changed_is_used_as_it_is(weight, change, rows):
    before, x = ready(weight, rows), torch.ones(rows, 33)
    with torch.no_grad():
        change(weight)
        torch.testing.assert_close(linear(x, weight, None, before), F.linear(x, weight))
        torch.testing.assert_close(linear(x, weight, None, ready(weight, rows)), F.linear(x, weight))


def test_one_weight_is_made_ready_once_and_let_go_with_its_last_user(weight):
    first = ready(weight, 1)
    assert ready(weight, 1) is first and ready(weight.clone(), 1) is not first
    before = len(packing._ready)
    del first
    assert len(packing._ready) == before - 1


@pytest.mark.parametrize("odd", [torch.float64, torch.float16])
def test_where_nothing_is_faster_nothing_is_made_ready(weight, odd):
    with torch.inference_mode():
        assert ready(weight.clone(), 1) is None, "nothing tells when it is written to"
    assert ready(weight.to(odd), 1) is None and ready(weight.t(), 1) is None
    assert ready(torch.empty(2, 3, device="meta"), 1) is None


def test_a_weight_that_a_plain_product_reads_faster_is_not_made_ready(weight, monkeypatch):
    monkeypatch.setitem(packing.LEAST, torch.float32, weight.nbytes)
    assert ready(weight, 1) is not None and ready(weight[1:], 1) is None


def test_without_onednn_plain_products_serve_a_few_rows(weight, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    x = torch.ones(9, 33)
    with torch.inference_mode():
        assert torch.equal(linear(x, weight, None, ready(weight, 9)), F.linear(x, weight))


def test_an_engine_prepares_its_model_and_shares_that_with_every_engine_over_the_same_weights(model):
    one, other = Engine(model, "v1"), Engine(model, "v3")
    assert one.model.wte.ready is other.model.wte.ready is not None
    assert one.model.h[0].mlp.c_fc.ready is other.model.h[0].mlp.c_fc.ready is not None


@needs_onednn
@pytest.mark.parametrize("rows", [1, 9])
def test_every_product_of_a_decode_step_was_made_ready(model, monkeypatch, rows):
    engine, ids = Engine(model, "v1", rows), torch.ones(rows, 1, dtype=torch.int64)
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
    assert set(model.prepare(rows=1).state_dict()) == names
