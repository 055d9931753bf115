"""Sampling: supports, ties, order and independence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.conformance import strategies
from kvgpt.sampling import Sampler, uniforms


def logits(seed, vocab=17, rows=3, levels=None):
    drawn = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    return drawn if levels is None else drawn.mul(levels).round()  # few levels: ties


@given(seed=strategies.seeds, k=st.integers(1, 20), tied=st.booleans())
def test_top_k_keeps_exactly_k_ties_by_index(seed, k, tied):
    given_logits = logits(seed, levels=1 if tied else None)
    kept = Sampler(1.0, top_k=k).probabilities(given_logits) > 0
    for row, chosen in zip(given_logits.tolist(), kept, strict=True):
        best = sorted(range(17), key=lambda token: (-row[token], token))[:k]
        assert sorted(best) == chosen.nonzero().flatten().tolist()


@given(seed=strategies.seeds, p=st.floats(0.01, 0.999))
def test_top_p_keeps_the_smallest_set_that_reaches_p_the_crossing_token_included(seed, p):
    given_logits = logits(seed)
    full, cut = given_logits.softmax(dim=1), Sampler(1.0, top_p=p).probabilities(given_logits)
    for row, kept in zip(full, cut, strict=True):
        ordered, order = row.sort(descending=True)
        size = int((ordered.cumsum(0) < p - 1e-12).sum()) + 1
        assert sorted(order[:size].tolist()) == (kept > 0).nonzero().flatten().tolist()
        assert torch.allclose(kept[kept > 0], row[kept > 0] / row[kept > 0].sum(), rtol=1e-9, atol=0)


@given(seed=strategies.seeds, k=st.integers(1, 17), p=st.floats(0.05, 1.0))
def test_top_p_is_taken_of_what_top_k_left(seed, k, p):
    given_logits = logits(seed)
    only_k = Sampler(1.0, top_k=k).probabilities(given_logits)
    both = Sampler(1.0, top_k=k, top_p=p).probabilities(given_logits)
    after = Sampler(1.0, top_p=p).probabilities(only_k.log())
    assert torch.allclose(both, after, rtol=1e-9, atol=1e-15)
    assert torch.allclose(both.sum(dim=1), torch.ones(3, dtype=torch.float64))


def test_a_probability_of_one_keeps_everything():
    given_logits = logits(0)
    assert torch.equal(Sampler(1.0, top_p=1.0).probabilities(given_logits), given_logits.softmax(dim=1))
    steep = torch.tensor([[0.0, -100.0, -200.0]], dtype=torch.float64)  # the first takes all that float64 can add up
    assert (Sampler(1.0, top_k=3, top_p=1.0).probabilities(steep) > 0).all()


def test_a_set_that_reaches_p_exactly_is_large_enough():
    kept = Sampler(1.0, top_p=0.5).probabilities(torch.zeros(1, 4, dtype=torch.float64))
    assert kept.tolist() == [[0.5, 0.5, 0.0, 0.0]]


@given(seed=strategies.seeds, u=st.floats(0, 1 - 2**-24))
def test_the_token_drawn_is_where_the_cumulative_distribution_passes_u(seed, u):
    given_logits = logits(seed)
    given_logits[:, ::3] = -torch.inf
    token = Sampler(0.7).pick(given_logits, torch.full((3,), u, dtype=torch.float64))
    probabilities = (given_logits / 0.7).softmax(dim=1)
    before = (probabilities.cumsum(dim=1) - probabilities).gather(1, token)
    width = probabilities.gather(1, token)
    assert token.shape == (3, 1)
    assert (width > 0).all(), "a token of probability zero was drawn"
    assert ((before <= u + 1e-9) & (u <= before + width + 1e-9)).all()


def test_frequencies_are_the_probabilities():
    given_logits = logits(3, rows=1).expand(20_000, -1)
    tokens = Sampler(1.0).pick(given_logits, uniforms(0, 20_000, 1)[:, 0])
    counts = torch.bincount(tokens.flatten(), minlength=17) / 20_000
    expected = given_logits[0].softmax(dim=0)
    error = (counts - expected).abs() / (expected * (1 - expected) / 20_000).sqrt()
    assert float(error.max()) < 5, "five standard errors off"


def test_temperature_zero_and_a_tiny_one_take_the_most_likely():
    given_logits = logits(1)
    best = given_logits.argmax(dim=1, keepdim=True)
    u = torch.full((3,), 0.999, dtype=torch.float64)
    for temperature in (0.0, 1e-300):
        assert torch.equal(Sampler(temperature).pick(given_logits, u), best)
    certain = torch.zeros_like(given_logits).scatter(1, best, 1.0)
    assert torch.equal(Sampler(0.0).probabilities(given_logits), certain)


def test_uniforms_come_from_the_seed_and_the_row_alone():
    assert torch.equal(uniforms(5, 4, 6)[:2], uniforms(5, 2, 6))
    assert torch.equal(uniforms(5, 4, 9)[:, :6], uniforms(5, 4, 6))
    assert torch.equal(uniforms([3, 9], 2, 4)[1], uniforms([9], 1, 4)[0])
    assert torch.equal(uniforms([9], 1, 4), uniforms(9, 1, 4)), "one seed for one row is that seed"
    assert not torch.equal(uniforms(5, 2, 6)[0], uniforms(5, 2, 6)[1])
    assert not torch.equal(uniforms(None, 1, 6), uniforms(None, 1, 6)), "without a seed runs differ"
    many = uniforms(0, 1, 100_000)
    assert float(many.max()) <= 1 - 2**-24 and torch.equal(many, many.float().double()), "the steps of float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": 0}, "top_k=0: must be at least 1"),
        ({"top_p": 0.0}, "top_p=0.0: must be above 0"),
        ({"top_p": 1.1}, "top_p=1.1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**arguments)


def test_seeds_must_be_one_or_one_a_row():
    with pytest.raises(ValueError, match="3 seeds for a batch of 2 rows"):
        uniforms([1, 2, 3], 2, 4)
