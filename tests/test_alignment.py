"""Query alignment: the closed form finds the map where there is one, and changes nothing else."""

import pytest
import torch
from hypothesis import given

import kvgpt
from kvgpt.alignment.queries import fit_queries
from kvgpt.conformance import strategies

CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=16, vocab_size=31, block_size=24)


def scores(q, k):
    """Scores less their mean over the keys: all that a softmax sees."""
    raw = q @ k.transpose(2, 3)
    return raw - raw.mean(dim=3, keepdim=True)


def drawn(seed, heads=3, kv_heads=3):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(4, heads, 20, 5, generator=generator, dtype=torch.float64)
    k_owner = torch.randn(4, kv_heads, 20, 5, generator=generator, dtype=torch.float64) + 3
    return generator, q, k_owner


@given(seed=strategies.seeds)
def test_keys_that_are_a_map_of_the_owners_are_matched_exactly(seed):
    generator, q, k_owner = drawn(seed)
    mixing = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    k_follower = k_owner @ mixing + torch.randn(3, 1, 5, generator=generator, dtype=torch.float64)
    A, b = fit_queries(q, k_follower, k_owner)
    mapped = (A @ q.transpose(2, 3)).transpose(2, 3) + b[:, None]
    wanted = scores(q, k_follower)
    assert (scores(mapped, k_owner) - wanted).abs().max() < 1e-3 * wanted.abs().max()  # the ridge is 1e-6


def test_the_owners_own_keys_give_the_identity():
    _, q, k_owner = drawn(0)
    A, b = fit_queries(q, k_owner, k_owner)
    assert torch.allclose(A, torch.eye(5, dtype=torch.float64).expand(3, -1, -1), atol=1e-5)
    assert torch.allclose(b, torch.zeros(3, 5, dtype=torch.float64), atol=1e-4)


@given(seed=strategies.seeds)
def test_no_nearby_map_and_no_nearby_bias_has_a_smaller_error(seed):
    generator, q, k_owner = drawn(seed, heads=4, kv_heads=2)
    k_follower = torch.randn(4, 2, 20, 5, generator=generator, dtype=torch.float64)
    A, b = fit_queries(q, k_follower, k_owner)
    own, foreign = (k.repeat_interleave(2, dim=1) for k in (k_follower, k_owner))
    wanted = scores(q, own)

    def error(b):
        mapped = (A @ q.transpose(2, 3)).transpose(2, 3) + b[:, None]
        return float((scores(mapped, foreign) - wanted).square().sum())

    best = error(b)
    for _ in range(5):
        step = 0.05 * torch.randn(4, 5, generator=generator, dtype=torch.float64)
        assert best < error(b + step), "another bias is better"


def test_only_followers_queries_change_and_the_model_itself_does_not():
    model, ids = strategies.model(CONFIG, 0), strategies.ids(4, 20, 0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    aligned, shared = kvgpt.align(model, ids, sharing="cla2"), model.share("cla2")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    changed = {
        name for name, tensor in aligned.state_dict().items() if not torch.equal(tensor, shared.state_dict()[name])
    }
    assert changed == {f"h.{layer}.attn.c_attn.{kind}" for layer in (1, 3) for kind in ("weight", "bias")}
    assert aligned.config.sharing == "cla2" and aligned.config.align == "qalign"
    assert sum(p.numel() for p in aligned.parameters()) == sum(p.numel() for p in shared.parameters()), (
        "nothing at decode"
    )


def test_an_aligned_variant_is_fitted_once_to_the_calibration_it_is_given():
    model, ids = strategies.model(CONFIG, 0), strategies.ids(4, 20, 0)
    engine = kvgpt.Engine(model, "v3a", calibration=ids)
    by_hand = kvgpt.align(model, ids, sharing="cla2")
    assert all(torch.equal(tensor, by_hand.state_dict()[name]) for name, tensor in engine.model.state_dict().items())
    assert kvgpt.Engine(by_hand, "v4a").model is by_hand, "an aligned model is not aligned again"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "v"}, r"kind='v': known: 'q' \(queries\), 'kv' \(keys and values\)"),
        ({"ids": torch.zeros(4, dtype=torch.int64)}, r"shape \(4,\): expected \(sequences, 2 tokens or more\)"),
        ({"ids": torch.zeros(4, 1, dtype=torch.int64)}, r"shape \(4, 1\)"),
        ({"sharing": "both"}, "unknown sharing 'both'"),
    ],
)
def test_what_cannot_be_aligned_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        kvgpt.align(**{"model": strategies.model(CONFIG, 0), "ids": strategies.ids(2, 9, 0), **arguments})


def test_a_model_that_shares_already_is_refused():
    with pytest.raises(ValueError, match="already has sharing 'cla2'"):
        kvgpt.align(strategies.model(CONFIG, 0).share("cla2"), strategies.ids(2, 9, 0))
