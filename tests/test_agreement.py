"""Agreement: divergences that are known, disagreements that were planted, and engines in lockstep."""

from math import log
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt import agreement as module
from kvgpt.agreement import Agreement, agreement, kl_divergence
from kvgpt.conformance import oracle, strategies
from kvgpt.perplexity import Stretch, Windows, at_once, one_a_step

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=31, block_size=24)
MODES = (at_once, one_a_step)


def logits_of(*distributions):
    return torch.tensor(distributions, dtype=torch.float64).log()


def test_a_vocabulary_of_two_tokens_by_hand():
    found = kl_divergence(logits_of([0.75, 0.25], [0.5, 0.5]), logits_of([0.5, 0.5], [0.75, 0.25]))
    there, back = 0.75 * log(1.5) + 0.25 * log(0.5), 0.5 * log(2 / 3) + 0.5 * log(2)
    assert found.tolist() == pytest.approx([there, back], rel=1e-12) and there != pytest.approx(back)


@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 40)),
    seed=st.integers(0, 99),
    scale=st.sampled_from([0.0, 1.0, 100.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    shift=st.floats(-50, 50),
)
def test_a_divergence_is_0_of_equals_and_never_less(size, seed, scale, dtype, shift):
    generator = torch.Generator().manual_seed(seed)
    one, other = (scale * torch.randn(size, generator=generator) for _ in range(2))
    assert kl_divergence(one.to(dtype), one.to(dtype).clone()).tolist() == [0.0] * size[0]
    found = kl_divergence(one, other)
    assert found.dtype == torch.float64 and (found > -1e-12).all()
    moved = kl_divergence(one.double() + shift, other.double() - shift)
    assert torch.allclose(moved, found, rtol=1e-9, atol=1e-9), "adding a constant to logits changes no distribution"


def test_a_large_vocabulary_is_compared_in_parts(monkeypatch):
    one, other = (torch.randn(7, 11, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    whole = kl_divergence(one, other)
    for numbers in (1, 25, 77):
        monkeypatch.setattr(module, "AT_ONCE", numbers)
        assert torch.equal(kl_divergence(one, other), whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_have_no_divergence(value):
    logits = torch.zeros(3, 4)
    logits[1, 2] = value
    with pytest.raises(ValueError, match="nan nats: logits are not finite"):
        kl_divergence(torch.zeros(3, 4), logits)


def saying(logits):
    """An engine that does nothing, and what :func:`replayed` makes it predict: logits (N, W - 1, V)."""
    config = SimpleNamespace(vocab_size=logits.size(2))
    return SimpleNamespace(batch_size=2, model=SimpleNamespace(config=config), cache=object(), logits=logits)


def replayed(engine, windows):
    """A mode that takes two windows at a time and two positions at a time."""
    for rows in torch.arange(len(windows.ids)).split(engine.batch_size):
        for start in range(0, windows.ids.size(1) - 1, 2):
            logits = engine.logits[rows, start : start + 2]
            filling = engine.logits.new_full((engine.batch_size - len(rows), *logits.shape[1:]), torch.nan)
            yield Stretch(rows, start, torch.cat([logits, filling]), by_cache=False)


def test_planted_disagreements_are_counted_where_they_count():
    windows = Windows.cut(
        torch.zeros(3 * 6 - 1, dtype=torch.int64), 6, 6
    )  # 5 + 5 + 4 scored; the last place is padding
    right = logits_of([0.8, 0.2]).expand(3, 5, 2).clone()
    ours = right.clone()
    ours[0, 1:4] = logits_of([0.2, 0.8])  # three others in the first window
    ours[2, 2] = logits_of([0.6, 0.4])  # not another choice, if another distribution
    ours[2, 4] = logits_of([0.01, 0.99])  # predicts padding: does not count
    found = agreement(saying(ours), saying(right), windows, replayed)
    flipped, nearer = 0.6 * log(4), 0.8 * log(0.8 / 0.6) + 0.2 * log(0.2 / 0.4)
    assert found.same.tolist() == [True, False, False, False, True] + [True] * 9
    assert found.window.tolist() == [0] * 5 + [1] * 5 + [2] * 4
    assert found.top1 == 11 / 14 and found.kl_divergence == pytest.approx((3 * flipped + nearer) / 14)
    low, high = found.top1_interval
    assert 0 < low < 11 / 14 < high <= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stride", [24, 9])
def test_identical_engines_agree_exactly(mode, stride):
    model, windows = strategies.model(CONFIG, 0, torch.float32), Windows.cut(strategies.ids(1, 90, 4)[0], 24, stride)
    found = agreement(kvgpt.Engine(model, "v1", 3), kvgpt.Engine(model, "v1", 3), windows, mode)
    assert len(found.divergence) == len(found.same) == windows.scored_tokens
    assert found.kl_divergence == 0.0 and found.stderr == 0.0 and found.top1 == 1.0


@pytest.mark.parametrize("mode", MODES)
def test_the_divergence_is_from_the_reference_to_the_other(mode):
    models = [strategies.model(CONFIG, seed) for seed in (0, 1)]
    windows = Windows.cut(strategies.ids(1, 60, 4)[0], 24, 24)
    found = agreement(*(kvgpt.Engine(model, "v1", 2) for model in models), windows, mode)
    log_q, log_p = (oracle.logits(model.state_dict(), windows.ids, 2).log_softmax(2)[:, :-1] for model in models)
    scored = windows.scored[:, 1:]
    assert torch.allclose(found.divergence, (log_p.exp() * (log_p - log_q)).sum(2)[scored], rtol=0, atol=1e-9)
    assert torch.equal(found.same, (log_p.argmax(2) == log_q.argmax(2))[scored])


def test_engines_that_cannot_go_in_lockstep_are_refused():
    model, windows = strategies.model(CONFIG, 0), Windows.cut(strategies.ids(1, 60, 4)[0], 24, 24)
    one, larger = kvgpt.Engine(model, "v1", 2), kvgpt.Engine(model, "v1", 3)
    for other in (one, larger):
        with pytest.raises(ValueError, match=r"two engines of the same go in lockstep"):
            agreement(one, other, windows, at_once)


def sampled(same):
    return Agreement(torch.zeros(same.numel()), same.flatten(), torch.arange(len(same)).repeat_interleave(same.size(1)))


def test_the_interval_of_a_share_is_wilsons_and_wider_where_windows_differ():
    all_same = torch.ones(10, 50, dtype=torch.bool)
    assert sampled(all_same).top1_interval == (pytest.approx(500 / (500 + 1.959964**2)), 1.0)
    assert sampled(all_same[:1]).top1_interval is None, "one window has no spread"
    spread, together = all_same.clone(), all_same.clone()
    spread[::2, :4], spread[1::2, :6], together[0] = False, False, False
    assert sampled(spread).top1 == sampled(together).top1 == 0.9
    (low, high), wider = sampled(spread).top1_interval, sampled(together).top1_interval
    z, n = 1.959964, 500  # no more than there are, also where windows are more alike than chance would have them
    for bound in (low, high):
        assert abs(bound - 0.9) == pytest.approx(z * (bound * (1 - bound) / n) ** 0.5)
    assert wider[0] < low - 0.05 and wider[1] > high


def test_the_interval_of_a_share_holds_it_as_often_as_it_says():
    generator, held = torch.Generator().manual_seed(0), 0
    for _ in range(400):
        low, high = sampled(torch.rand(20, 25, generator=generator) < 0.97).top1_interval
        held += low <= 0.97 <= high
    assert held >= 0.93 * 400


@pytest.mark.parametrize("agreeing", [False, True])
def test_an_interval_holds_its_share_to_the_last_digit(agreeing):
    for tokens in range(2, 60):
        found = sampled(torch.full((3, tokens), agreeing))
        low, high = found.top1_interval
        assert low <= found.top1 <= high
