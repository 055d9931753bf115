"""Recorded steps: what is replayed is what would have been computed, whatever happened to the cache in between."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from static_cache import StaticCache
from tape import Tape

import kvgpt
from kvgpt.conformance import strategies, tolerances
from kvgpt.graphs import TOGETHER, Graphed
from kvgpt.sampling import Sampler
from kvgpt.steps import Steps, cuts

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=4, n_embd=16, vocab_size=31, block_size=48, n_kv_head=2)
PLAIN = strategies.model(CONFIG, seed=1)
MODELS = {
    "plain": PLAIN,
    "sharing": PLAIN.share("cla2"),
    "rotary": strategies.model(kvgpt.GPTConfig(3, 2, 16, 31, 48, position_embedding="rotary"), seed=2),
}


def eager(model=PLAIN, batch=2, cache=StaticCache, **options):
    return kvgpt.Engine(model, cache, batch, steps=Steps, **options)


def graphed(model=PLAIN, batch=2, cache=StaticCache, **options):
    tape = Tape()
    made = kvgpt.Engine(model, cache, batch, steps=lambda *of: Graphed(Steps(*of), tape), **options)
    return made, tape


def decoded(engine, ids):
    return torch.stack([engine.decode(ids[:, at : at + 1]) for at in range(ids.size(1))], dim=1)


def settled(ids, **options):
    """An engine that has recorded its step, after the tokens ``ids``."""
    engine, tape = graphed(batch=ids.size(0), **options)
    decoded(engine, ids)
    assert (tape.ran, tape.recorded, tape.played) == (1, 1, ids.size(1) - 2)
    return engine, tape


def whole(ids, since, model=PLAIN):
    """Logits (B, n, V) of the tokens from ``since`` on, by one forward of all."""
    return model(ids)[:, since:]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("batch", [1, 3])
def test_replayed_steps_are_the_models(model, batch):
    ids, (engine, tape) = strategies.ids(batch, 12, 0), graphed(model, batch)
    engine.prefill(ids[:, :4])
    assert tolerances.exact(decoded(engine, ids[:, 4:]), whole(ids, 4, model))
    assert (tape.ran, tape.recorded, tape.played) == (1, 1, 6), (
        "one step to warm up, one to record, the others replayed"
    )
    assert engine.cache.length == int(engine.cache.position) == 12


def test_a_tape_repeats_nothing_of_the_host():
    class Host(StaticCache):
        def attend(self, layer, q, k=None, v=None):
            return super().attend(layer, q, k, v) + self.length

    ids, (engine, _) = strategies.ids(2, 12, 0), graphed(cache=Host)
    assert not tolerances.exact(decoded(engine, ids), decoded(eager(cache=Host), ids))


@given(data=st.data())
def test_a_recording_survives_reset_crop_and_a_second_prompt(data):
    ids, other = strategies.ids(2, 8, 0), strategies.ids(2, 9, 1)
    engine, tape = settled(ids)
    kept = data.draw(st.integers(0, 8), label="kept")
    prompt = data.draw(st.integers(0, 6), label="prompt")
    engine.crop(kept) if kept or data.draw(st.booleans(), label="crop to nothing") else engine.reset()
    if prompt:
        engine.prefill(other[:, :prompt])
    out = decoded(engine, other[:, prompt:])
    assert tolerances.exact(out, whole(torch.cat([ids[:, :kept], other], dim=1), kept + prompt))
    assert tape.recorded == 1, "the step was recorded again"


@given(rows=st.lists(st.integers(0, 1), min_size=1, max_size=3))
def test_select_replaces_the_storages_and_with_them_the_recording(rows):
    ids, more = strategies.ids(2, 6, 0), strategies.ids(len(rows), 5, 1)
    engine, tape = settled(ids)
    engine.select(rows)
    assert tolerances.exact(decoded(engine, more), whole(torch.cat([ids[rows], more], dim=1), 6))
    assert tape.recorded == 2


def test_a_fork_and_its_original_replay_each_their_own():
    ids, left, right = strategies.ids(2, 6, 0), strategies.ids(2, 5, 1), strategies.ids(2, 5, 2)
    one, tape = settled(ids)
    two = one.fork()
    for at in range(5):
        ours, theirs = one.decode(left[:, at : at + 1]), two.decode(right[:, at : at + 1])
    assert tolerances.exact(ours, whole(torch.cat([ids, left], dim=1), 10)[:, 0])
    assert tolerances.exact(theirs, whole(torch.cat([ids, right], dim=1), 10)[:, 0])
    assert tape.recorded == 2


def test_a_cache_that_is_replaced_is_recorded_anew():
    class Unresettable(StaticCache):
        reset = kvgpt.KVCache.reset

    ids, other = strategies.ids(2, 6, 0), strategies.ids(2, 6, 1)
    engine, tape = settled(ids, cache=Unresettable)
    engine.reset()
    assert tolerances.exact(decoded(engine, other), whole(other, 0))
    assert tape.recorded == 2


def test_buffers_and_what_the_cache_holds_stay_where_they_are():
    ids = strategies.ids(2, 6, 0)
    engine, _ = settled(ids)

    def addresses():
        tensors = [engine.cache.position, *engine.cache.k, *engine.cache.v]
        buffers = [buffer for one in engine.steps._recordings.values() for buffer in one.buffers]
        return [tensor.data_ptr() for tensor in tensors + buffers]

    before = addresses()
    engine.reset()
    engine.prefill(ids)
    engine.crop(2)
    decoded(engine, ids)
    assert addresses() == before


def test_logits_are_the_callers_own():
    ids = strategies.ids(2, 6, 0)
    engine, _ = settled(ids)
    first = engine.decode(ids[:, :1])
    kept = first.clone()
    engine.decode(ids[:, 1:2])
    assert torch.equal(first, kept), "the next replay wrote over them"


def test_a_replay_past_the_end_is_refused_as_a_step_is():
    ids = strategies.ids(2, 6, 0)
    engine, _ = settled(ids, max_length=6)
    with pytest.raises(ValueError, match="6 tokens seen and 1 more: this engine has room for 6"):
        engine.decode(ids[:, :1])
    drawn = torch.zeros(2, 2, dtype=torch.float64)
    for feed in (engine.steps.step, partial(engine.steps.several, sampler=Sampler(), drawn=drawn)):
        with pytest.raises(ValueError, match=r"6 tokens held and 1 more: .* max_length=6"), torch.inference_mode():
            feed(ids[:, :1], engine.cache)
        assert int(engine.cache.position) == 6


def test_several_steps_of_which_the_last_does_not_fit_are_not_replayed():
    ids, drawn = strategies.ids(2, 1, 0), torch.zeros(2, 2, dtype=torch.float64)
    engine, tape = graphed(max_length=7)
    with torch.inference_mode():
        for _ in range(3):
            engine.steps.several(ids, engine.cache, Sampler(), drawn)
        assert tape.played == 1
        with pytest.raises(ValueError, match=r"7 tokens held and 1 more: .* max_length=7"):
            engine.steps.several(ids, engine.cache, Sampler(), drawn)


def test_after_a_step_that_raised_nothing_is_replayed_before_crop():
    ids = strategies.ids(2, 6, 0)
    engine, _ = settled(ids)
    k = torch.zeros(2, 2, 1, 4, dtype=torch.float64)
    engine.cache.attend(0, torch.zeros(2, 4, 1, 4, dtype=torch.float64), k, k)
    with pytest.raises(ValueError, match="layer 0 already appended 1 tokens"):
        engine.decode(ids[:, :1])
    engine.crop(6)
    assert tolerances.exact(engine.decode(ids[:, :1]), whole(torch.cat([ids, ids[:, :1]], dim=1), 6)[:, 0])


def test_replayed_logits_are_looked_at_on_request():
    model = strategies.model(CONFIG, seed=1)
    engine, _ = graphed(model, check_finite=True)
    decoded(engine, strategies.ids(2, 4, 0))
    model.ln_f.bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="row 0 has logits that are not finite after 5 tokens"):
        engine.decode(strategies.ids(2, 1, 0))
    with pytest.raises(FloatingPointError, match="after 2 tokens"):
        engine.generate(strategies.ids(2, 2, 0), 2 * TOGETHER)


def test_tokens_generated_together_are_looked_at_one_by_one_on_request():
    engine, tape = graphed(check_finite=True)
    engine.generate(strategies.ids(2, 2, 0), 2 * TOGETHER)
    assert tape.ran + tape.recorded + tape.played == 2 * TOGETHER - 1


def test_a_cache_that_cannot_be_recorded_is_not():
    ids, (engine, tape) = strategies.ids(2, 8, 0), graphed(cache="v1")
    assert tolerances.exact(decoded(engine, ids), whole(ids, 0))
    assert engine.generate(ids, 12).shape == (2, 20)
    assert (tape.ran, tape.recorded) == (0, 0)


@pytest.mark.parametrize("new", [0, 1, 2, TOGETHER, TOGETHER + 1, 3 * TOGETHER + 3])
def test_new_tokens_are_cut_into_a_prompt_s_own_and_as_many_together_as_fit(new):
    assert sum(cuts(new, TOGETHER)) == new and set(cuts(new, TOGETHER)) <= {1, TOGETHER}
    assert cuts(new, TOGETHER)[:1] == [1][:new], "the first token follows the prompt"
    assert cuts(new, 1) == [1] * new


SAMPLINGS = [{}, {"temperature": 1.5, "seed": 3}, {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "seed": [4, 9]}]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "sampled", "top-k and top-p"])
def test_several_steps_a_replay_are_step_by_step(sampling):
    ids, new = strategies.ids(2, 4, 0), 4 * TOGETHER + 3
    (engine, tape), other = graphed(), strategies.ids(2, 9, 1)
    for prompt in (ids, other):
        out = engine.generate(prompt, new, **sampling)
        assert torch.equal(out, eager().generate(prompt, new, **sampling))
        assert torch.equal(out[:, prompt.size(1) :], torch.cat(list(engine.stream(prompt, new, **sampling)), dim=1))
    assert engine.cache.length == int(engine.cache.position) == 9 + new - 1
    assert tape.recorded == 2, "one recording of single steps, one of several"


def test_one_engine_samples_in_more_ways_than_one():
    ids, (engine, _) = strategies.ids(2, 4, 0), graphed()
    for sampling in SAMPLINGS * 2:
        expected = eager().generate(ids, 3 * TOGETHER + 1, **sampling)
        assert torch.equal(engine.generate(ids, 3 * TOGETHER + 1, **sampling), expected)


@given(st.integers(0, 40), st.integers(0, 2**31 - 1))
def test_rows_end_where_they_end_step_by_step(new, seed):
    ids, sampling = strategies.ids(3, 4, seed), {"temperature": 3.0, "seed": seed}
    free = eager(batch=3).generate(ids, 40, **sampling)
    eos = int(free[seed % 3, 4 + seed % 13])
    one, (many, _) = eager(batch=3), graphed(batch=3)
    assert torch.equal(many.generate(ids, new, eos=eos, **sampling), one.generate(ids, new, eos=eos, **sampling))


@pytest.mark.parametrize("positions", ["recompute:5", "interpolate:2"])
def test_other_positions_are_replayed_too(positions):
    ids = strategies.ids(2, 20, 0)
    options = {"max_length": 12 if "recompute" in positions else 24, "positions": positions}
    engine, tape = graphed(**options)
    assert tolerances.exact(decoded(engine, ids), decoded(eager(**options), ids))
    assert torch.equal(engine.generate(ids[:, :3], 20), eager(**options).generate(ids[:, :3], 20))
    assert tape.played > 0
