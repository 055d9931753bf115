"""Past the learned positions: each policy by its definition, and what none of them allows."""

import pytest
import torch

import kvgpt
from kvgpt import perplexity, policies
from kvgpt.conformance import oracle, strategies, tolerances

CONFIG = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=31, block_size=12)
ROTARY = kvgpt.GPTConfig(**{**vars(CONFIG), "position_embedding": "rotary"})
IDS = strategies.ids(2, 40, 0)


def engine(variant="v1", config=CONFIG, **asked):
    return kvgpt.Engine(strategies.model(config, 0), variant, 2, **asked)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("error", "error"),
        ("recompute", "recompute:6"),
        ("recompute:12", "recompute:12"),
        ("interpolate", "interpolate:2"),
        ("interpolate:2.50", "interpolate:2.5"),
    ],
)
def test_a_policy_says_its_number(asked, name):
    assert engine(positions=asked).positions == name


def test_a_shift_says_its_number():
    assert engine("window", positions="shift").positions == "shift:6"
    assert engine("window", positions="shift:3").policy.approximate
    assert not engine(positions="recompute").policy.approximate


@pytest.mark.parametrize(
    ("variant", "asked", "said"),
    [
        ("v1", "clamp", "positions='clamp': known policies: error, recompute"),
        ("v1", "error:1", "known policies"),
        ("v1", "", "known policies"),
        ("v1", "recompute:0", "of 12 tokens held, 1 to 12 are let go"),
        ("v1", "recompute:13", "of 12 tokens held, 1 to 12 are let go"),
        ("v1", "recompute:-3", "1 to 12"),
        ("v1", "recompute:", "1 to 12"),
        ("v1", "recompute:99999999999999999999", "1 to 12"),
        ("v1", "interpolate:0.5", "a number from 1 to 1024"),
        ("v1", "interpolate:nan", "a number from 1 to 1024"),
        ("v1", "interpolate:inf", "a number from 1 to 1024"),
        ("v1", "interpolate:x", "a number from 1 to 1024"),
        ("v1", "shift", r"add '\+window'"),
        ("window", "shift:1", "by 1 they would stand still"),
        ("window", "shift:13", "2 to 12"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(variant, asked, said):
    with pytest.raises(ValueError, match=said):
        engine(variant, positions=asked)


def test_rotary_keys_are_not_re_based():
    with pytest.raises(ValueError, match="rotary keys are turned by their positions"):
        engine("window", ROTARY, positions="shift")


@pytest.mark.parametrize(
    ("variant", "config", "asked", "n", "said"),
    [
        ("v1", CONFIG, {}, 13, r"room for 12 \(positions='error'\).*'recompute' or 'shift' on .* or 'interpolate:2'"),
        ("v1", CONFIG, {}, 40, "'interpolate:4', or a model of rotary positions"),
        ("v1", CONFIG, {"max_length": 5}, 6, "raise max_length up to 12"),
        ("v1", CONFIG, {"max_length": 5}, 13, "'recompute'"),
        ("window", CONFIG, {"max_length": 5}, 13, "'recompute' or 'shift' or 'interpolate:2'"),
        ("v1", CONFIG, {"positions": "interpolate:3", "max_length": 20}, 21, "raise max_length up to 34"),
        ("window", CONFIG, {"positions": "interpolate:3", "max_length": 5}, 35, "room for 34"),
        ("v1", ROTARY, {}, 13, "raise max_length"),
    ],
)
def test_more_tokens_than_a_policy_allows_are_refused_before_anything_is_computed(variant, config, asked, n, said):
    one, ids = engine(variant, config, **asked), IDS[:, :n]
    for attempt in (lambda: one.prefill(ids), lambda: one.generate(ids[:, :2], n - 1)):
        with pytest.raises(ValueError, match=said):
            attempt()
        assert one.length == one.cache.length == int(one.cache.position) == 0
    one.prefill(ids[:, : min(n - 1, one.room)])


def test_a_cache_of_more_room_than_there_are_positions_is_refused():
    with pytest.raises(ValueError, match="max_length=13: the model has learned positions for 1 to 12"):
        engine(max_length=13)
    with pytest.raises(ValueError, match="positions for 1 to 23"):
        engine(max_length=24, positions="interpolate:2")
    assert engine(config=ROTARY, max_length=500).room == 500


def test_the_last_place_of_a_stretched_model_is_its_last_position():
    for factor in ("1", "1.1", "2.5", "3", "7.3", "1000"):
        one = policies.policy(f"interpolate:{factor}", 12, 12, False)
        last = one.places(torch.tensor([one.room(12) - 1, one.room(12)]))
        assert float(last[0]) <= 11 < float(last[1]), factor


@pytest.mark.parametrize("name", ["error", "shift:2", "shift:5", "shift:12", "interpolate:3", "recompute:4"])
def test_no_two_tokens_in_a_row_share_a_position(name):
    places = policies.policy(name, 12, 12, True).places(torch.arange(200))
    assert (places.diff() != 0).all()


def test_after_a_whole_window_let_go_crop_says_what_can_still_be_kept():
    one = engine(positions="recompute:4")
    one.prefill(IDS[:, :18])  # 8 let go, 10 held
    for length in (0, 8, 16, 19):
        with pytest.raises(ValueError, match=rf"crop\({length}\): of 18 tokens the first 8 were let go .* 17 to 18"):
            one.crop(length)
    one.crop(17)
    assert (one.length, one.cache.length) == (17, 9)
    again = engine(positions="recompute:4")
    again.prefill(IDS[:, :17])
    assert torch.allclose(one.decode(IDS[:, :1]), again.decode(IDS[:, :1]), atol=1e-12)


@pytest.mark.parametrize("stride", [1, 3, 6, 11])
@pytest.mark.parametrize("variant", ["v0", "v1", "v2", "v3"])
def test_the_perplexity_of_recompute_is_that_of_the_sliding_window_with_the_same_stride(variant, stride):
    text = strategies.ids(1, 150, 1)[0]
    windows = perplexity.Windows.cut(text, 13, stride)
    sliding = perplexity.teacher_forced(kvgpt.Engine(strategies.model(CONFIG, 0), variant, 4, max_length=12), windows)
    stream = kvgpt.Engine(strategies.model(CONFIG, 0), variant, 1, positions=f"recompute:{stride}")
    logits = torch.cat(
        [stream.prefill(text[None, :5], every_position=True)[0], *(stream.decode(t[None, None]) for t in text[5:-1])]
    )
    losses = torch.nn.functional.cross_entropy(logits, text[1:], reduction="none")
    assert len(losses) == len(sliding.nll) == 149
    assert abs(float(losses.mean()) - sliding.mean) < 1e-10
    assert torch.allclose(losses, sliding.nll, atol=1e-9)


@pytest.mark.parametrize("factor", [1, 3])
def test_rotary_logits_depend_on_distances_only(factor):
    model, ids = strategies.model(ROTARY, 0), IDS[:, :20]
    there = torch.arange(20) * factor
    moved = model(ids, positions=there + 100_000)
    assert torch.allclose(model(ids, positions=there), moved, atol=1e-9)
    assert factor == 1 or not torch.allclose(model(ids), moved, atol=1e-3)


def test_angles_are_exact_in_bfloat16_far_out():
    config = kvgpt.GPTConfig(**{**vars(ROTARY), "n_embd": 64})
    model = strategies.model(config, 0, torch.bfloat16)
    near, far = (model(IDS[:, :10], positions=torch.arange(10) + start).double() for start in (0, 4096))
    truth = oracle.logits(model.state_dict(), IDS[:, :10], 2)
    assert all(tolerances.by_ratio(far.to(torch.bfloat16), [near.to(torch.bfloat16)], truth))


def test_a_rotary_model_of_odd_heads_is_refused():
    with pytest.raises(ValueError, match="head_dim=5: rotary positions turn pairs"):
        kvgpt.GPTConfig(n_layer=1, n_head=2, n_embd=10, vocab_size=7, block_size=4, position_embedding="rotary")


def test_no_queries_are_aligned_under_rotary_positions():
    with pytest.raises(ValueError, match="no one map of queries fits them all"):
        kvgpt.align(strategies.model(ROTARY, 0), IDS[:, :8])
