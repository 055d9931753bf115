"""Weights made ready: the same products, of the weights as they are now, and as they were never."""

import copy

import pytest
import torch
import torch.nn.functional as F

from kvgpt import GPT, Engine, GPTConfig, compiling, packing
from kvgpt.packing import MOST_ROWS, linear, ready

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
LACKING = compiling.uncompilable(torch.device("cpu"))
needs_a_compiler = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))


@pytest.fixture(autouse=True)
def small_weights_are_made_ready_too(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", dict.fromkeys(packing.LEAST, 0))
    monkeypatch.setattr(packing, "loop", lambda function, *examples: function)  # as it is: compiling takes seconds


@pytest.fixture
def weight():
    return torch.randn(65, 33, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    return GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=8)).requires_grad_(False).eval()


@needs_onednn
@pytest.mark.parametrize("shape", [(4, 8, 33), (3, 33), (MOST_ROWS, 1, 33)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_of_blocks_is_the_product(weight, shape, bias):
    x, b = torch.randn(shape), torch.randn(65) if bias else None
    with torch.inference_mode():
        torch.testing.assert_close(ready(weight, 2).product(x, b), F.linear(x, weight, b))


@needs_a_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_compiled_row_is_the_product(monkeypatch, dtype, bias):
    """Compiled for real; in 16 bits it is summed in 32 and rounded once, which a plain product is not."""
    monkeypatch.setattr(packing, "loop", compiling.loop)
    generator = torch.Generator().manual_seed(0)
    size = 48 + 2 * bias  # what is compiled is kept by its sizes
    weight, x, b = (torch.randn(n, generator=generator).to(dtype) for n in ((size, 33), (1, 1, 33), (size,)))
    with torch.inference_mode():
        found = ready(weight, 1).product(x, b if bias else None)
    wide = F.linear(x.double(), weight.double(), b.double() if bias else None)
    assert found.shape == (1, 1, size) and found.dtype == dtype
    torch.testing.assert_close(found, wide.float().to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-5)


@needs_a_compiler
def test_one_row_takes_the_loop_and_more_take_the_blocks(weight):
    of_one, of_few, row, rows = (
        ready(weight, 1),
        ready(weight.clone(), 4),
        torch.ones(33),
        torch.ones(2, 33),
    )
    assert of_one.looped and of_one.blocks is None and of_one.product(rows, None) is None
    assert not of_few.looped and (of_few.product(row, None) is None) == (of_few.blocks is None)
    assert ready(weight, 2) is of_one and of_one.looped, "ready for one row and for a few"


def test_without_a_compiler_the_blocks_serve_one_row_too(weight, monkeypatch):
    monkeypatch.setattr(packing, "uncompilable", lambda device: "no compiler g++")
    of_one = ready(weight, 1)
    assert not of_one.looped and (of_one.blocks is not None) == packing._has_kernel(weight.dtype)
    x = torch.ones(1, 33)
    with torch.inference_mode():
        torch.testing.assert_close(linear(x, weight, None, ready(weight, 1)), F.linear(x, weight))


@needs_a_compiler
def test_where_compiling_fails_the_blocks_serve_with_a_warning(weight, monkeypatch):
    def fails(function, *examples):
        raise OSError("no space left on device")

    monkeypatch.setattr(packing, "loop", fails)
    odd = weight[:61].clone()  # of a size that nothing was compiled for
    x, of_one = torch.ones(1, 33), ready(odd, 1)
    with torch.inference_mode():
        with pytest.warns(RuntimeWarning, match="torch's compiler failed.*OSError: no space left"):
            found = linear(x, odd, None, of_one)
        torch.testing.assert_close(found, F.linear(x, odd))
        assert (of_one.blocks is not None) == packing._has_kernel(odd.dtype)
        torch.testing.assert_close(linear(x, odd, None, of_one), F.linear(x, odd))  # without another warning


@needs_onednn
def test_it_serves_few_rows_without_gradients_and_only_those(weight, monkeypatch):
    packed, calls = ready(weight, 2), []
    few, many = torch.ones(MOST_ROWS, 33), torch.ones(MOST_ROWS + 1, 33)
    assert packed.product(many, None) is None
    real = packing.Ready.product
    monkeypatch.setattr(packing.Ready, "product", lambda self, x, bias: calls.append(len(x)) or real(self, x, bias))
    with torch.no_grad():
        for x, of in ((few, packed), (many, packed), (few, None)):
            torch.testing.assert_close(linear(x, weight, None, of), F.linear(x, weight))
    torch.testing.assert_close(linear(few, weight, None, packed), F.linear(few, weight))
    assert calls == [MOST_ROWS, MOST_ROWS + 1], "not with gradients, and not where nothing was made ready"


@pytest.mark.parametrize("rows", [1, 2])
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
    x = torch.ones(2, 33)
    with torch.inference_mode():
        assert torch.equal(linear(x, weight, None, ready(weight, 2)), F.linear(x, weight))


def test_an_engine_prepares_its_model_and_shares_that_with_every_engine_over_the_same_weights(model):
    one, other = Engine(model, "v1"), Engine(model, "v3")
    assert one.model.wte.ready is other.model.wte.ready is not None
    assert one.model.h[0].mlp.c_fc.ready is other.model.h[0].mlp.c_fc.ready is not None


@needs_onednn
@pytest.mark.parametrize("rows", [1, 3])
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
