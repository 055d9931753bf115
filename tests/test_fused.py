"""The fused decode step is the model's: through the twins to 1e-9, through the kernels as far as a dtype goes."""

import pytest
import torch
from torch import nn

import kvgpt
from kvgpt.caches.dense import DenseCache
from kvgpt.conformance import strategies, tolerances
from kvgpt.fused import Fused, fusible
from kvgpt.steps import Steps

pytest.importorskip("triton", reason="needs Triton")

from kvgpt.kernels import linear

SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 32, "vocab_size": 31, "block_size": 24}
CONFIGS = {
    "plain": kvgpt.GPTConfig(**SIZES),
    "sharing": kvgpt.GPTConfig(**SIZES, sharing="cla2"),
    "grouped": kvgpt.GPTConfig(**SIZES, n_kv_head=2),
    "rotary": kvgpt.GPTConfig(**SIZES, position_embedding="rotary"),
    "all": kvgpt.GPTConfig(**SIZES, sharing="cla2", n_kv_head=2, position_embedding="rotary"),
}
EVERY = (torch.float64, *linear.DTYPES)


class Counted:
    """Products that say how often each was asked for."""

    def __init__(self, products=linear.PLAIN):
        self.products, self.calls = products, []

    def normed(self, *arguments, **options):
        self.calls.append("normed")
        return self.products.normed(*arguments, **options)

    def added(self, *arguments, **options):
        self.calls.append("added")
        return self.products.added(*arguments, **options)


def fused(model, products=linear.PLAIN):
    return Fused(model, products, linear.MOST_ROWS, EVERY)


def engine(model, products, batch):
    return kvgpt.Engine(
        model, "v3" if model.config.sharing else "v1", batch, steps=lambda *of: Steps(fused(of[0], products), of[1])
    )


def tokens(engine, ids, prompt=4):
    engine.prefill(ids[:, :prompt])
    return torch.stack([engine.decode(ids[:, at : at + 1]) for at in range(prompt, ids.size(1))], dim=1)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_fused_step_is_the_models(config, batch):
    model, ids, counted = strategies.model(config, seed=3), strategies.ids(batch, 9, 0), Counted()
    assert tolerances.exact(tokens(engine(model, counted, batch), ids), model(ids)[:, 4:])
    assert len(counted.calls) == 5 * (4 * config.n_layer + 1), "a layer is 4 products and its attention"


@pytest.mark.parametrize(("kind", "variant"), [("q", "v3a"), ("kv", "dense+cla2+calign")])
def test_followers_that_were_aligned_are_fused_too(kind, variant):
    plain = strategies.model(CONFIGS["plain"], seed=3)
    model, ids, counted = (
        kvgpt.align(plain, strategies.ids(2, 12, 5), sharing="cla2", kind=kind),
        strategies.ids(2, 9, 0),
        Counted(),
    )
    one = kvgpt.Engine(model, variant, 2, steps=lambda *of: Steps(fused(of[0], counted), of[1]))
    assert tolerances.exact(tokens(one, ids), model(ids)[:, 4:])
    assert counted.calls


@pytest.mark.parametrize(("config", "batch"), [("plain", 1), ("all", 3)])
def test_a_step_through_the_kernels_is_the_models(config, batch):
    if torch.cuda.is_available():
        pytest.skip("Triton's interpreter is chosen for a whole process: tests/test_gpu.py has this one compiled")
    exact = strategies.model(CONFIGS[config], seed=3)
    model = kvgpt.GPT(exact.config, seed=None).assign({k: v.float() for k, v in exact.state_dict().items()}, "random:3")
    ids = strategies.ids(batch, 5, 0)
    out = tokens(engine(model, linear.FUSED, batch), ids)
    for verdict in tolerances.by_ratio(out, [model(ids)[:, 4:]], exact(ids)[:, 4:]):
        assert verdict, verdict


def test_what_is_no_step_of_few_rows_goes_to_the_model():
    model, counted = strategies.model(CONFIGS["plain"], seed=3), Counted()
    most = linear.MOST_ROWS
    for batch, length, dtypes, calls in (
        (most, 1, EVERY, 13),
        (most + 1, 1, EVERY, 0),
        (1, 2, EVERY, 0),
        (1, 1, (), 0),
    ):
        ids = strategies.ids(batch, length, 0)
        one = Fused(model, counted, most, dtypes)
        counted.calls.clear()
        assert tolerances.exact(one(ids, DenseCache(model.kv_shape(batch, 4))), model(ids))
        assert len(counted.calls) == calls


def test_the_models_own_tensors_are_read_and_those_of_now():
    model, ids = strategies.model(CONFIGS["plain"], seed=3), strategies.ids(1, 1, 0)
    step = fused(model)
    for parameter in model.parameters():
        parameter.mul_(1.25)
    assert tolerances.exact(step(ids, DenseCache(model.kv_shape(1, 4))), model(ids))


def test_a_model_with_parts_of_others_is_not_fused():
    class Louder(nn.LayerNorm):
        def forward(self, x):
            return 2 * super().forward(x)

    model = strategies.model(CONFIGS["all"], seed=3)
    assert fusible(model)
    model.h[1].ln_2.__class__ = Louder
    assert not fusible(model) and not fusible(object())
    assert not fusible(type("Mine", (kvgpt.GPT,), {})(CONFIGS["plain"]))
