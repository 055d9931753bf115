"""On a GPU: steps by operations, by kernels and by recordings are one; recordings outlive what caches go through."""

import pytest
import torch

import kvgpt
from kvgpt.conformance import strategies, tolerances
from kvgpt.fastest import fastest
from kvgpt.fused import Fused
from kvgpt.graphs import TOGETHER
from kvgpt.steps import Steps

pytestmark = pytest.mark.gpu
CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=128, vocab_size=257, block_size=64)
NARROW = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


def by_kernels(model, policy):
    from kvgpt.kernels import linear

    return Steps(Fused(model, linear.FUSED, linear.MOST_ROWS, linear.DTYPES), policy)


def drawn(n, seed=0, batch=2):
    return strategies.ids(batch, n, seed, CONFIG.vocab_size).cuda()


def narrow(model, dtype):
    made = kvgpt.GPT(model.config, seed=None)
    return made.assign({name: tensor.to(dtype) for name, tensor in model.state_dict().items()}, model.weights)


def model_of(dtype, config=CONFIG):
    return narrow(strategies.model(config, seed=1).cuda(), dtype)


def decoded(engine, ids):
    return torch.stack([engine.decode(ids[:, at : at + 1]) for at in range(ids.size(1))], dim=1)


def settled(variant, dtype, ids):
    """An engine that has recorded its step and replayed it, after the tokens ``ids``."""
    engine = kvgpt.Engine(model_of(dtype), variant, ids.size(0))
    assert engine.cache.graphable
    decoded(engine, ids)
    return engine


@NARROW
@pytest.mark.parametrize("variant", kvgpt.variants())
@pytest.mark.parametrize("batch", [1, 3])
def test_every_way_of_running_steps_gives_the_same_logits(variant, dtype, batch):
    exact = strategies.model(CONFIG, seed=1).cuda()
    exact = kvgpt.Engine(exact, variant, calibration=drawn(24, 5)).model  # shared and aligned once, before it is narrow
    model, ids = narrow(exact, dtype), drawn(20, 0, batch)

    def logits(model, steps):
        engine = kvgpt.Engine(model, variant, batch, steps=steps)
        engine.prefill(ids[:, :6])
        return decoded(engine, ids[:, 6:])

    truth, plain = logits(exact, Steps), logits(model, Steps)
    kernels, replayed = logits(model, by_kernels), logits(model, fastest)
    assert torch.equal(kernels, replayed), "a recording is of the same kernels"
    for verdict in tolerances.by_ratio(kernels, [plain], truth):
        assert verdict, verdict


def test_a_layer_is_five_kernels_at_most():
    def kernels(n_layer):
        config = kvgpt.GPTConfig(n_layer=n_layer, n_head=2, n_embd=128, vocab_size=257, block_size=64)
        engine = kvgpt.Engine(model_of(torch.bfloat16, config), "v1", steps=by_kernels)
        decoded(engine, drawn(3, 0, 1))
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            engine.decode(drawn(1, 0, 1))
            torch.cuda.synchronize()
        return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events())

    few, many = kernels(2), kernels(6)
    assert 0 < many - few <= 4 * 5, f"{few} kernels of 2 layers, {many} of 6"


@NARROW
@pytest.mark.parametrize("variant", ["v1", "v2", "v3"])
def test_a_recording_survives_reset_crop_and_a_second_prompt(variant, dtype):
    ids, other = drawn(12), drawn(14, 1)
    engine = settled(variant, dtype, ids)
    recordings = dict(engine.steps._recordings)
    for kept, prompt in ((0, 0), (0, 5), (4, 0), (7, 5)):
        fresh = kvgpt.Engine(engine.model, variant, 2, steps=by_kernels)
        for one in (engine, fresh):
            one.reset()
            one.prefill(ids)
            one.crop(kept)
            if prompt:
                one.prefill(other[:, :prompt])
        assert torch.equal(decoded(engine, other[:, prompt:]), decoded(fresh, other[:, prompt:]))
        assert engine.steps._recordings == recordings, "the step was recorded again"


@NARROW
def test_select_and_fork_are_recorded_anew(dtype):
    ids, more = drawn(8), drawn(5, 1, 3)
    engine, fresh = settled("v1", dtype, ids), kvgpt.Engine(model_of(dtype), "v1", 2, steps=by_kernels)
    decoded(fresh, ids)
    for one in (engine, fresh):
        one.select([1, 0, 1])
    twin = engine.fork()
    expected = decoded(fresh, more)
    assert torch.equal(decoded(engine, more), expected) and torch.equal(decoded(twin, more), expected)


def test_addresses_are_stable_and_logits_the_callers_own():
    engine = settled("v1", torch.bfloat16, drawn(8))
    cache = engine.cache

    def addresses():
        buffers = [buffer for one in engine.steps._recordings.values() for buffer in one.buffers]
        return [tensor.data_ptr() for tensor in (cache.position, *cache.k, *cache.v, *buffers)]

    before, first = addresses(), engine.decode(drawn(1))
    kept = first.clone()
    engine.reset()
    engine.prefill(drawn(6, 1))
    engine.decode(drawn(1, 2))
    assert addresses() == before and torch.equal(first, kept)


@NARROW
@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.5, "seed": 3}, {"temperature": 0.7, "top_k": 5, "seed": 4}])
def test_several_steps_a_replay_are_step_by_step(dtype, sampling):
    engine, new = kvgpt.Engine(model_of(dtype), "v1", 2), 4 * TOGETHER + 3
    assert engine.steps.together == TOGETHER and engine.cache.graphable
    for prompt in (drawn(4), drawn(9, 1)):
        out = engine.generate(prompt, new, **sampling)
        assert torch.equal(out[:, prompt.size(1) :], torch.cat(list(engine.stream(prompt, new, **sampling)), dim=1))


@NARROW
def test_a_prompt_that_continues_is_attended_by_its_mask(dtype):
    exact, ids = strategies.model(CONFIG, seed=1).cuda(), drawn(24)
    model = narrow(exact, dtype)
    engine = kvgpt.Engine(model, "v1", 2)
    parts = [engine.prefill(part, every_position=True) for part in ids.split([5, 12, 7], dim=1)]
    for verdict in tolerances.by_ratio(torch.cat(parts, dim=1), [model(ids)], exact(ids)):
        assert verdict, verdict
