"""A step of a few rows on a CPU in five calls a layer is the model's, as far as a dtype goes."""

import pytest
import torch
import torch.nn.functional as F

import kvgpt
from kvgpt import compiling, fastest, packing
from kvgpt.caches.dense import DenseCache
from kvgpt.conformance import strategies, tolerances
from kvgpt.fused import Fused, multiplied
from kvgpt.native import build, rows
from kvgpt.native.rows import DTYPES, MOST_ROWS, few_rows, serves
from kvgpt.policies import Policy

LACKING = compiling.uncompilable(torch.device("cpu"))
needs_a_compiler = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 40, "vocab_size": 31, "block_size": 24}  # nothing a vector's multiple
CONFIGS = {
    "plain": kvgpt.GPTConfig(**SIZES),
    "all": kvgpt.GPTConfig(**SIZES, sharing="cla2", n_kv_head=2, position_embedding="rotary"),
}
EPSILON = 0.5


@pytest.fixture
def small_weights_are_large_enough(monkeypatch):
    monkeypatch.setattr(fastest, "LEAST", dict.fromkeys(packing.LEAST, 0))


def drawn(dtype, *sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes]


def wide(tensors):
    return [None if tensor is None else tensor.double() for tensor in tensors]


def orders(K):
    """Of K summands: few sums in one order may be lucky and round to nothing."""
    at = torch.arange(K)
    return [at, at.flip(0), at.roll(K // 2), torch.cat([at[::2], at[1::2]])]


def normed(x, norm_weight, norm_bias, weight, bias, gelu):
    y = F.linear(F.layer_norm(x, (x.size(-1),), norm_weight, norm_bias, EPSILON), weight, bias)
    return F.gelu(y, approximate="tanh") if gelu else y


def agree(found, plain, exact):
    """``plain`` is the same in several orders of its sums."""
    assert found.shape == exact.shape and found.dtype == plain[0].dtype
    for verdict in tolerances.by_ratio(found, plain, exact):
        assert verdict, str(verdict)


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M", range(1, MOST_ROWS + 1))
@pytest.mark.parametrize(("N", "K"), [(1, 1), (46, 33), (513, 64), (3, 200)])
def test_a_product_after_its_norm_is_the_product(dtype, M, N, K):
    x, norm_weight, norm_bias, weight, bias = drawn(dtype, (M, 1, K), (K,), (K,), (N, K), (N,))
    with torch.inference_mode():
        for biased, gelu in ((bias, True), (None, False)):
            given = [x + 3, norm_weight, norm_bias, weight]
            found = rows.normed(*given[:3], EPSILON, weight, biased, gelu)
            plain = [normed(*(one[..., order] for one in given), biased, gelu) for order in orders(K)]
            agree(found, plain, normed(*wide([*given, biased]), gelu))


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M", range(1, MOST_ROWS + 1))
@pytest.mark.parametrize(("N", "K"), [(45, 33), (64, 100)])
def test_a_product_before_a_residual_is_the_product(dtype, M, N, K):
    x, weight, bias, residual = given = drawn(dtype, (M, 1, K), (N, K), (N,), (M, 1, N))
    with torch.inference_mode():
        found = rows.added(*given)
        plain = [residual + F.linear(x[..., order], weight[:, order], bias) for order in orders(K)]
        agree(found, plain, residual.double() + F.linear(*wide(given[:3])))


@needs_a_compiler
@pytest.mark.parametrize("threads", [1, 3, 7])
def test_every_output_is_one_threads(threads):
    x, weight = drawn(torch.float32, (2, 33), (50, 33))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            torch.testing.assert_close(few_rows(x, weight), F.linear(x, weight))
    finally:
        torch.set_num_threads(before)


@needs_a_compiler
def test_rows_may_lie_anyhow():
    x, weight, residual = drawn(torch.float32, (33, 2), (50, 33), (50, 2))
    with torch.inference_mode():
        found = few_rows(x.t(), weight, residual=residual.t())
        torch.testing.assert_close(found, F.linear(x.t(), weight) + residual.t())


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_huge_tiny_or_no_number_comes_out_as_of_plain_torch(dtype):
    x = torch.tensor([[-1e4, -200.0, -20.0, -0.0, 1e-30, 20.0, 200.0, 1e4, torch.inf, torch.nan]], dtype=dtype)
    weight = torch.eye(10, dtype=dtype)
    with torch.inference_mode():
        for row, column in enumerate(x.unbind(dim=1)):  # one number each: infinity times 0 is none
            given = column.view(1, 1), weight[row : row + 1, row : row + 1]
            found = few_rows(*given, gelu=True)
            torch.testing.assert_close(found, F.gelu(F.linear(*given), approximate="tanh"), equal_nan=True)
            assert torch.equal(few_rows(*given).isnan(), column.view(1, 1).isnan())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.usefixtures("small_weights_are_large_enough")
@needs_a_compiler
def test_an_engine_steps_through_it_as_the_model_does(monkeypatch, config, dtype, batch_size):
    exact = strategies.model(config, seed=3)
    model = kvgpt.GPT(config, seed=None).assign({k: v.to(dtype) for k, v in exact.state_dict().items()}, "random:3")
    calls = []
    for name in ("normed", "added"):
        real = getattr(rows, name)
        monkeypatch.setattr(rows, name, lambda *a, of=real, **o: calls.append(of.__name__) or of(*a, **o))
    ids, engine = strategies.ids(batch_size, 9, 0), kvgpt.Engine(model, "v3" if config.sharing else "v1", batch_size)
    engine.prefill(ids[:, :4])
    assert not calls, "a prompt is the model's"
    with monkeypatch.context() as alone:
        alone.setattr(rows, "F", None)  # every product is a loop's
        found = torch.stack([engine.decode(ids[:, at : at + 1]) for at in range(4, 9)], dim=1)
    layer = ["normed", "added"] * 2
    assert calls == (layer * config.n_layer + ["normed"]) * 5, "a layer is four products and its attention"
    agree(found, [model(ids)[:, 4:]], exact(ids)[:, 4:])


@pytest.mark.usefixtures("small_weights_are_large_enough")
def test_it_serves_a_cpu_with_a_compiler_where_all_weights_are_worth_a_loop(monkeypatch):
    model = strategies.model(CONFIGS["plain"], seed=3).float()
    compiles = LACKING is None
    made = fastest.fastest(model, Policy()).forward
    assert (type(made) is Fused) == compiles and (made is model) != compiles
    mine, coded = type("Mine", (kvgpt.GPT,), {})(CONFIGS["plain"]), model.quantise()
    assert all(fastest.fastest(other, Policy()).forward is other for other in (mine, coded))
    assert not any(fastest.pays(torch.empty(2, 3, dtype=dtype)) for dtype in (torch.float64, torch.float16))
    assert len(multiplied(model)) == 4 * 3 + 1
    least = min(weight.nbytes for weight in multiplied(model))
    for more in (0, 1):  # one weight is too small
        monkeypatch.setitem(fastest.LEAST, torch.float32, least + more)
        assert (type(fastest.fastest(model, Policy()).forward) is Fused) == (compiles and not more)


@pytest.mark.usefixtures("small_weights_are_large_enough")
def test_more_rows_are_the_models(monkeypatch):
    model, ids = strategies.model(CONFIGS["plain"], seed=3).float(), strategies.ids(MOST_ROWS + 1, 1, 0)
    for name in ("normed", "added"):
        monkeypatch.setattr(rows, name, None)
    with torch.inference_mode():
        found = fastest.fastest(model, Policy()).step(ids, DenseCache(model.kv_shape(len(ids), 4)))
        assert torch.equal(found, model(ids))


@pytest.mark.usefixtures("nothing_is_compiled_yet", "small_weights_are_large_enough")
def test_without_a_compiler_the_model_serves(monkeypatch):
    model = strategies.model(CONFIGS["plain"], seed=3).float()
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert fastest.fastest(model, Policy()).forward is model


@needs_a_compiler
@pytest.mark.usefixtures("nothing_is_compiled_yet", "small_weights_are_large_enough")
def test_where_compiling_fails_the_model_serves_with_one_warning(monkeypatch):
    def fails(source):
        raise OSError("no space left on device")

    monkeypatch.setattr(build, "_compiled", fails)
    model = strategies.model(CONFIGS["plain"], seed=3).float()
    with pytest.warns(RuntimeWarning, match="torch's compiler failed.*no space left") as warned:
        assert fastest.fastest(model, Policy()).forward is model and fastest.fastest(model, Policy()).forward is model
    assert len(warned) == 1


@needs_a_compiler
def test_what_a_loop_may_not_read_takes_plain_products(monkeypatch):
    monkeypatch.setattr(rows, "few_rows", None)
    K, N = 33, 57
    x, norm_weight, norm_bias, weight, bias = drawn(torch.float32, (1, 1, K), (K,), (K,), (K, N), (N,))
    assert not serves(1, x.half(), weight) and not serves(1, x, weight.to("meta"))
    weight.requires_grad_()
    rows.normed(x, norm_weight, norm_bias, EPSILON, weight.t().contiguous(), bias).sum().backward()
    assert weight.grad is not None, "with gradients"
    with torch.inference_mode():
        found = rows.normed(x, norm_weight, norm_bias, EPSILON, weight.t(), bias)  # not row by row
        torch.testing.assert_close(found, normed(x, norm_weight, norm_bias, weight.t(), bias, False))
        odd = weight.t().clone()[:, ::2]
        found = rows.added(x[..., ::2], odd, bias, bias.view(1, 1, N))
        torch.testing.assert_close(found, bias + F.linear(x[..., ::2], odd, bias).view(1, 1, N))
        many = x.expand(MOST_ROWS + 1, 1, K)
        torch.testing.assert_close(
            rows.added(many, odd := weight.t().clone(), bias, bias), bias + many @ odd.t() + bias
        )


@needs_a_compiler
@pytest.mark.usefixtures("small_weights_are_large_enough")
def test_weights_of_now_are_read():
    model, ids = strategies.model(CONFIGS["plain"], seed=3).float(), strategies.ids(1, 1, 0)
    step = fastest.fastest(model, Policy())
    for parameter in model.parameters():
        parameter.mul_(1.25)
    model.h[1].mlp.c_fc.store(model.h[1].mlp.c_fc.weight * 2, model.h[1].mlp.c_fc.bias)
    with torch.inference_mode():
        torch.testing.assert_close(step.step(ids, DenseCache(model.kv_shape(1, 4))), model(ids), rtol=1e-4, atol=1e-4)
