"""Training: it learns, it repeats itself, and what cannot be trained is said before the first step."""

import itertools
import math

import pytest
import torch

import kvgpt
from kvgpt import text
from kvgpt.train import Schedule, train

CONFIG = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=257, block_size=16)
CORPUS = text.Corpus("alphabet", ("abcdefghijklmnopqrstuvwxyz" * 40,), ("abcdefghijklmnopqrstuvwxyz" * 8,), "0" * 64)
SHORT = Schedule(steps=60, batch_size=8, learning_rate=1e-2, warmup=10, evaluate_every=30)


def quietly(line):
    pass


@pytest.mark.parametrize("sharing", [None, "cla2"])
def test_a_model_learns_the_alphabet(sharing):
    lines = []
    config = kvgpt.GPTConfig(**{**vars(CONFIG), "sharing": sharing})
    model, metadata = train(config, CORPUS, SHORT, lines.append)
    assert len(lines) == 2 and lines[-1].startswith("step 60/60")
    assert float(metadata["held_out_loss"]) < 0.5 * math.log(26), "no better than half of guessing letters"
    assert float(metadata["held_out_perplexity"]) == pytest.approx(math.exp(float(metadata["held_out_loss"])), rel=1e-4)
    assert (metadata["corpus"], metadata["seed"], metadata["tokens"]) == ("alphabet", "0", str(60 * 8 * 16))
    assert model.config.sharing == sharing


def test_the_heads_start_as_loud_as_the_schedule_says():
    still = Schedule(steps=1, batch_size=1, learning_rate=1e-30, weight_decay=0.0, attention_gain=5.0)
    trained, fresh = train(CONFIG, CORPUS, still, quietly)[0].state_dict(), kvgpt.GPT(CONFIG, seed=0).state_dict()
    for name, tensor in fresh.items():
        expected = 5 * tensor if name.endswith("attn.c_proj.weight") else tensor
        assert torch.allclose(trained[name], expected, atol=1e-12), name


def test_the_same_seed_gives_the_same_weights_and_another_others():
    quick = Schedule(steps=3, batch_size=2)
    one, two = (train(CONFIG, CORPUS, quick, quietly)[0].state_dict() for _ in range(2))
    other = train(CONFIG, CORPUS, Schedule(steps=3, batch_size=2, seed=1), quietly)[0].state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["wte.weight"], other["wte.weight"])


def test_the_rate_warms_up_and_falls_to_its_last_fraction():
    schedule = Schedule(steps=200, learning_rate=1.0, warmup=20, final_fraction=0.1)
    rates = [schedule.rate(step) for step in range(200)]
    assert rates[0] == pytest.approx(0.05, rel=0.01) and rates[-1] == pytest.approx(0.1)
    assert rates.index(max(rates)) in range(18, 22)
    assert all(after < before for before, after in itertools.pairwise(rates[25:]))


def test_a_loss_that_is_not_finite_stops_training():
    with pytest.raises(FloatingPointError, match=r"step \d+: the loss is .*; try a lower learning rate"):
        train(CONFIG, CORPUS, Schedule(steps=30, batch_size=2, learning_rate=1e18, warmup=1), quietly)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("train", "short: 5 training tokens are fewer"),
        ("held_out", "a text of 5 tokens is shorter than one context of 16"),
    ],
)
def test_a_corpus_shorter_than_one_context_is_refused(part, message):
    parts = {"train": CORPUS.train, "held_out": CORPUS.held_out, part: ("abcde",)}
    with pytest.raises(ValueError, match=message):
        train(CONFIG, text.Corpus("short", sha256="", **parts), SHORT, quietly)


@pytest.mark.parametrize("field", ["steps", "batch_size", "evaluate_every", "learning_rate"])
def test_a_schedule_that_trains_nothing_is_refused(field):
    with pytest.raises(ValueError, match=f"{field}=0"):
        Schedule(**{field: 0})
