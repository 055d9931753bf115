"""Perplexity: known answers, each token scored once, the same in both modes, and served by the cache."""

import math
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt import perplexity
from kvgpt.caches.dense import DenseCache
from kvgpt.conformance import oracle, strategies
from kvgpt.perplexity import Score, Windows

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=31, block_size=24)
MODES = (perplexity.teacher_forced, perplexity.autoregressive)


class Counting(DenseCache):
    """Counts the tokens that it hands to the model."""

    handed: ClassVar[list[int]] = []

    def read(self, layer):
        k, v = super().read(layer)
        if layer == 0:
            Counting.handed.append(k.size(2))
        return k, v


@given(length=st.integers(2, 90), window=st.integers(2, 24), data=st.data())
def test_every_token_is_scored_once_and_predicted_with_its_context(length, window, data):
    stride = data.draw(st.integers(1, window))
    if length < window:
        with pytest.raises(ValueError, match=f"a text of {length} tokens is shorter than one context of {window}"):
            Windows.cut(torch.arange(length), window, stride)
        return
    cut = Windows.cut(torch.arange(length), window, stride)
    scored = cut.ids[cut.scored].tolist()
    firsts = set(range(0, length, window)) if stride == window else {0}  # a window's first token has no context
    assert scored == [token for token in range(length) if token not in firsts]
    for row, mask in zip(cut.ids, cut.scored, strict=True):
        place = int(mask.int().argmax())
        assert mask.any() and place >= 1, "a window that scores nothing, or a token without context"
        assert place >= window - stride or int(row[0]) == 0, "less context than the stride leaves"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("stride", [24, 9])
def test_the_score_is_the_oracles_log_likelihood_whatever_the_batch(mode, batch, stride):
    model, ids = strategies.model(CONFIG, 0), strategies.ids(1, 90, 4)[0]
    score = mode(kvgpt.Engine(model, "v1", batch), Windows.cut(ids, 24, stride))
    cut = Windows.cut(ids, 24, stride)
    logits = oracle.logits(model.state_dict(), cut.ids, 2)
    likely = logits.log_softmax(dim=2)[:, :-1].gather(2, cut.ids[:, 1:, None]).squeeze(2)
    assert torch.allclose(score.nll, -likely[cut.scored[:, 1:]], rtol=0, atol=1e-9)
    assert score.perplexity == pytest.approx(math.exp(float(score.nll.mean())))


def test_losses_of_a_model_in_bfloat16_are_taken_in_float32():
    engine, ids = kvgpt.Engine(strategies.model(CONFIG, 0, torch.bfloat16)), strategies.ids(1, 24, 4)
    logits = engine.prefill(ids[:, :-1], every_position=True)
    losses = torch.nn.functional.cross_entropy(logits[0].float(), ids[0, 1:], reduction="none")
    score = perplexity.teacher_forced(engine, Windows.cut(ids[0], 24, 24))
    assert torch.allclose(score.nll, losses.double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("variant", list(kvgpt.variants()))
def test_both_modes_agree(variant):
    model, windows = strategies.model(CONFIG, 0), Windows.cut(strategies.ids(1, 70, 4)[0], 24, 24)
    calibration = strategies.ids(2, 20, 9)
    forced, stepped = (mode(kvgpt.Engine(model, variant, 3, calibration=calibration), windows) for mode in MODES)
    assert torch.allclose(forced.nll, stepped.nll, rtol=0, atol=1e-9)
    assert forced.served == 0, "teacher forcing goes through the cache at once"
    assert stepped.served == (0 if variant == "v0" else windows.scored_tokens)


def test_the_cache_itself_served_every_scored_token():
    model, ids = strategies.model(CONFIG, 0), strategies.ids(1, 48, 4)[0]
    Counting.handed.clear()
    score = perplexity.autoregressive(kvgpt.Engine(model, Counting, 2), Windows.cut(ids, 24, 24))
    assert Counting.handed == list(range(1, 24)), "each step reads all tokens before it and its own"
    assert score.served == len(score.nll) == 46


def test_equal_logits_give_the_size_of_the_vocabulary():
    model = strategies.model(CONFIG, 0, torch.float32)
    model.ln_f.weight.data.zero_()
    model.ln_f.bias.data.zero_()
    score = perplexity.teacher_forced(kvgpt.Engine(model, "v1", 2), Windows.cut(strategies.ids(1, 60, 4)[0], 24, 24))
    assert score.perplexity == pytest.approx(31, rel=1e-6)


def test_the_mean_is_over_tokens_and_the_error_over_windows():
    nll = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    score = Score(nll, torch.tensor([0, 0, 0, 1]), served=0)
    assert score.mean == 3.0 and score.perplexity == pytest.approx(math.exp(3.0))
    assert score.stderr == pytest.approx(math.sqrt(2 * (3**2 + 3**2)) / 4)  # both windows are 3 nats off the mean
    assert Score(nll, torch.zeros(4, dtype=torch.int64), 0).stderr is None, "one window has no spread"


def test_the_standard_error_of_windows_that_differ_is_the_spread_of_their_means():
    generator = torch.Generator().manual_seed(0)
    means = []
    for _ in range(400):
        offset = torch.randn(16, 1, generator=generator, dtype=torch.float64)
        nll = (offset + 0.1 * torch.randn(16, 10, generator=generator, dtype=torch.float64)).flatten()
        means.append(Score(nll, torch.arange(16).repeat_interleave(10), 0))
    spread = torch.tensor([score.mean for score in means]).std()
    errors = torch.tensor([score.stderr for score in means])
    assert float(errors.mean()) == pytest.approx(float(spread), rel=0.15)


def test_a_change_is_paired_token_by_token():
    noise = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    window = torch.arange(40) // 10
    one, other = Score(noise, window, 0), Score(noise + 0.01, window, 0)
    change, error = other.change(one)
    assert change == pytest.approx(0.01) and error == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="40 and 39 scored tokens are not the same"):
        one.change(Score(noise[1:], window[1:], 0))


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (8, 0), (8, 9)])
def test_windows_that_mean_nothing_are_refused(window, stride):
    with pytest.raises(ValueError, match=f"window={window}, stride={stride}"):
        Windows.cut(torch.arange(50), window, stride)


@pytest.mark.parametrize("variant", ["v0", "v1"])
@given(length=st.integers(8, 24), window=st.integers(2, 8), data=st.data())
def test_the_tokens_that_are_fed_are_known_beforehand(variant, length, window, data):
    windows = Windows.cut(strategies.ids(1, length, 4)[0], window, data.draw(st.integers(1, window)))
    engine, fed = kvgpt.Engine(strategies.model(CONFIG, 0), variant), []
    hook = engine.model.wte.register_forward_pre_hook(lambda _, ids: fed.append(ids[0].numel()))
    perplexity.autoregressive(engine, windows)
    hook.remove()
    assert perplexity.fed_tokens(windows, stateless=engine.cache.stateless) == sum(fed)


def test_every_nth_window_is_whole_and_numbered_anew():
    windows = Windows.cut(torch.arange(70), 10, 10)
    spread = windows.every(3)
    assert spread.ids.tolist() == [list(range(start, start + 10)) for start in (0, 30, 60)]
    assert spread.numbers.tolist() == [0] * 9 + [1] * 9 + [2] * 9 and spread.scored_tokens == 27


def test_the_loss_by_position_is_the_mean_over_tokens_that_stand_there():
    windows = perplexity.Windows.cut(torch.arange(20), 8, 8)  # 8, 8 and 4 tokens: positions 1 to 7, 1 to 7 and 1 to 3
    assert windows.positions.tolist() == [*range(1, 8), *range(1, 8), *range(1, 4)]
    score = perplexity.Score(windows.positions.double() ** 2, windows.numbers, 0)
    assert score.by_position(windows.positions) == [(1, 1, 1.0), (2, 3, 6.5), (4, 7, (16 + 25 + 36 + 49) / 4)]
