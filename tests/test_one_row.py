"""A step of one row on a CPU in five calls a layer is the model's, as far as a dtype goes."""

import pytest
import torch
import torch.nn.functional as F

import kvgpt
from kvgpt import compiling, one_row, packing
from kvgpt.caches.dense import DenseCache
from kvgpt.conformance import strategies, tolerances
from kvgpt.fastest import fastest
from kvgpt.fused import Fused, multiplied
from kvgpt.one_row import DTYPES, OneRow, pays
from kvgpt.policies import Policy

LACKING = compiling.uncompilable(torch.device("cpu"))
needs_a_compiler = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 40, "vocab_size": 31, "block_size": 24}  # a head of 31: no four streams
CONFIGS = {
    "plain": kvgpt.GPTConfig(**SIZES),
    "all": kvgpt.GPTConfig(**SIZES, sharing="cla2", n_kv_head=2, position_embedding="rotary"),
}
K = 33


@pytest.fixture(autouse=True)
def small_weights_are_large_enough(monkeypatch):
    monkeypatch.setattr(one_row, "LEAST", dict.fromkeys(packing.LEAST, 0))
    monkeypatch.setattr(packing, "loop", lambda function, *examples: function)  # as it is: compiling takes seconds


def drawn(dtype, *sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes]


def wide(tensors):
    return [None if tensor is None else tensor.double() for tensor in tensors]


def normed(x, norm_weight, norm_bias, weight, bias, gelu):
    y = F.linear(F.layer_norm(x, (x.size(-1),), norm_weight, norm_bias, 0.5), weight, bias)
    return F.gelu(y, approximate="tanh") if gelu else y


def agree(found, plain, exact):
    assert found.shape == exact.shape and found.dtype == plain.dtype
    for verdict in tolerances.by_ratio(found, [plain], exact):
        assert verdict, str(verdict)


@needs_a_compiler
@pytest.mark.parametrize(("N", "dtype", "biased"), [(46, torch.float32, True), (44, torch.bfloat16, False)])
def test_a_compiled_product_after_its_norm_is_the_product(monkeypatch, N, dtype, biased):
    """Compiled for real, with GELU where there is a bias."""
    monkeypatch.setattr(packing, "loop", compiling.loop)
    x, norm_weight, norm_bias, weight, bias = drawn(dtype, (1, 1, K), (K,), (K,), (N, K), (N,))
    given = [x + 3, norm_weight, norm_bias, weight, bias if biased else None]
    with torch.inference_mode():
        found = OneRow().normed(*given[:3], 0.5, *given[3:], gelu=biased)
        agree(found, normed(*given, biased), normed(*wide(given), biased))


@needs_a_compiler
@pytest.mark.parametrize(("N", "dtype"), [(45, torch.bfloat16), (48, torch.float32)])
def test_a_compiled_product_before_a_residual_is_the_product(monkeypatch, N, dtype):
    monkeypatch.setattr(packing, "loop", compiling.loop)
    x, weight, bias, residual = given = drawn(dtype, (1, 1, K), (N, K), (N,), (1, 1, N))
    with torch.inference_mode():
        found = OneRow().added(*given)
        exact = residual.double() + F.linear(*wide(given[:3]))
        agree(found, residual + F.linear(x, weight, bias), exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@needs_a_compiler
def test_an_engine_steps_through_it_as_the_model_does(monkeypatch, config, dtype):
    exact = strategies.model(config, seed=3)
    model = kvgpt.GPT(config, seed=None).assign({k: v.to(dtype) for k, v in exact.state_dict().items()}, "random:3")
    calls = []
    for name in ("normed", "added"):
        real = getattr(OneRow, name)
        monkeypatch.setattr(OneRow, name, lambda self, *a, of=real, **o: calls.append(of.__name__) or of(self, *a, **o))
    monkeypatch.setattr(packing, "linear", None)
    monkeypatch.setattr(one_row, "linear", None)  # every product is a loop's
    ids, engine = strategies.ids(1, 9, 0), kvgpt.Engine(model, "v3" if config.sharing else "v1")
    engine.prefill(ids[:, :4])
    assert not calls, "a prompt is the model's"
    found = torch.stack([engine.decode(ids[:, at : at + 1]) for at in range(4, 9)], dim=1)
    layer = ["normed", "added"] * 2
    assert calls == (layer * config.n_layer + ["normed"]) * 5, "a layer is four products and its attention"
    agree(found, model(ids)[:, 4:], exact(ids)[:, 4:])


def test_it_serves_a_cpu_with_a_compiler_where_all_weights_are_worth_a_loop(monkeypatch):
    model = strategies.model(CONFIGS["plain"], seed=3).float()
    compiles = LACKING is None
    made = fastest(model, Policy()).forward
    assert (type(made) is Fused) == compiles and (made is model) != compiles
    mine = type("Mine", (kvgpt.GPT,), {})(CONFIGS["plain"])
    coded = model.quantise()
    assert fastest(mine, Policy()).forward is mine and fastest(coded, Policy()).forward is coded
    assert not pays([torch.empty(2, 3, dtype=dtype) for dtype in (torch.float64, torch.float16)])
    least = min(weight.nbytes for weight in multiplied(model))
    assert len(multiplied(model)) == 4 * 3 + 1
    monkeypatch.setitem(one_row.LEAST, torch.float32, least)
    assert pays(multiplied(model)) == compiles
    monkeypatch.setitem(one_row.LEAST, torch.float32, least + 1)
    assert fastest(model, Policy()).forward is model, "one weight is too small"


def test_without_a_compiler_the_model_serves(monkeypatch):
    model = strategies.model(CONFIGS["plain"], seed=3).float()
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert fastest(model, Policy()).forward is model


def test_two_rows_are_the_models(monkeypatch):
    model, ids = strategies.model(CONFIGS["plain"], seed=3).float(), strategies.ids(2, 1, 0)
    for name in ("normed", "added"):
        monkeypatch.setattr(OneRow, name, None)
    with torch.inference_mode():
        found = fastest(model, Policy()).step(ids, DenseCache(model.kv_shape(2, 4)))
        assert torch.equal(found, model(ids))


@needs_a_compiler
@pytest.mark.parametrize("prepared", [True, False])
def test_where_compiling_fails_what_was_made_ready_serves_with_a_warning(monkeypatch, prepared):
    def fails(function, *examples):
        raise OSError("no space left on device")

    N = 52 + prepared  # of a size that nothing was compiled for
    monkeypatch.setattr(packing, "loop", fails)
    monkeypatch.setattr(packing, "LEAST", one_row.LEAST)
    x, norm_weight, norm_bias, weight, bias, residual = drawn(
        torch.float32, (1, 1, K), (K,), (K,), (N, K), (N,), (1, 1, N)
    )
    of = packing.ready(weight, 1) if prepared else None
    says = "torch's compiler failed.*no space left"
    with torch.inference_mode():
        with pytest.warns(RuntimeWarning, match=says):
            found = OneRow().normed(x, norm_weight, norm_bias, 0.5, weight, bias, gelu=True)
        torch.testing.assert_close(found, normed(x, norm_weight, norm_bias, weight, bias, True))
        with pytest.warns(RuntimeWarning, match=says):
            found = OneRow().added(x, weight, bias, residual)
        torch.testing.assert_close(found, residual + F.linear(x, weight, bias))
    assert of is None or (of.blocks is not None) == packing._has_kernel(weight.dtype)


def test_what_a_loop_may_not_read_takes_plain_products(monkeypatch):
    for name in ("_normed", "_added"):
        monkeypatch.setattr(one_row, name, None)
    x, norm_weight, norm_bias, weight, bias = drawn(torch.float32, (1, 1, K), (K,), (K,), (K, 57), (57,))
    weight.requires_grad_()
    OneRow().normed(x, norm_weight, norm_bias, 0.5, weight.t().contiguous(), bias).sum().backward()
    assert weight.grad is not None, "with gradients"
    with torch.inference_mode():
        found = OneRow().normed(x, norm_weight, norm_bias, 0.5, weight.t(), bias)  # not row by row
        torch.testing.assert_close(found, normed(x, norm_weight, norm_bias, weight.t(), bias, False))
        odd = weight.t().clone()[:, ::2]  # nor does it say when it was written to
        found = OneRow().added(x[..., ::2], odd, bias, bias.view(1, 1, 57))
        torch.testing.assert_close(found, bias + F.linear(x[..., ::2], odd, bias).view(1, 1, 57))


@needs_a_compiler
def test_weights_of_now_are_read(monkeypatch):
    model, ids = strategies.model(CONFIGS["plain"], seed=3).float(), strategies.ids(1, 1, 0)
    step = fastest(model, Policy())
    for parameter in model.parameters():
        parameter.mul_(1.25)
    model.h[1].mlp.c_fc.store(model.h[1].mlp.c_fc.weight * 2, model.h[1].mlp.c_fc.bias)
    with torch.inference_mode():
        torch.testing.assert_close(step.step(ids, DenseCache(model.kv_shape(1, 4))), model(ids), rtol=1e-4, atol=1e-4)
