"""The tests are tested: caches and models broken on purpose, each of which the tolerances must tell from rounding."""

from dataclasses import replace

import pytest
import torch

import kvgpt
from kvgpt import attention, perplexity
from kvgpt.caches import int8
from kvgpt.caches.dense import DenseCache
from kvgpt.caches.int8 import Int8Cache
from kvgpt.conformance import oracle, strategies, tolerances

CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=16, vocab_size=31, block_size=24)
IDS = strategies.ids(2, 12, 0)


class ReadsOneTooFew(DenseCache):
    """Hides the newest token from itself."""

    def read(self, layer):
        k, v = super().read(layer)
        return (k[:, :, :-1], v[:, :, :-1]) if k.size(2) > 1 else (k, v)


class Leaks(DenseCache):
    """Writes the first row's keys into every row."""

    def append(self, layer, k, v):
        super().append(layer, k[:1].expand_as(k), v)


class Aliases(DenseCache):
    """A fork that shares its memory with the original."""

    def fork(self):
        twin = super().fork()
        twin.k, twin.v = self.k, self.v
        return twin


class ForgetsReset(DenseCache):
    """Goes on writing where it stood."""

    def append(self, layer, k, v):
        super().append(layer, k, v)
        if self.length == 0 and self.k[layer].size(2) > k.size(2):
            self.k[layer][:, :, 0] = self.k[layer][:, :, k.size(2) - 1]


class QuantisesRawScale(Int8Cache):
    """Codes for a scale that is stored with less precision than they were made with."""

    def append(self, layer, k, v):
        super().append(layer, k, v)
        self.scales[layer].mul_(1 + 2**-9)


class UnderCounts(DenseCache):
    """Its length falls one behind with each step."""

    def advance(self, n):
        super().advance(n)
        self.length -= 1
        self._filled = [self.length] * self.shape.n_layer


def logits(model, variant, sizes=(5, 1, 1, 5)):
    engine = kvgpt.Engine(model, variant, 2)
    return torch.cat([engine.prefill(chunk, every_position=True) for chunk in IDS.split(sizes, dim=1)], dim=1), engine


@pytest.mark.parametrize("broken", [ReadsOneTooFew, Leaks, ForgetsReset])
def test_an_exact_cache_that_is_broken_is_far_from_the_oracle(broken):
    model = strategies.model(CONFIG, 0)
    out, _ = logits(model, broken)
    verdict = tolerances.exact(out, oracle.logits(model.state_dict(), IDS, 2))
    assert verdict.error > 1e3 * verdict.allowed, str(verdict)


def test_a_lossy_cache_that_reads_back_something_else_is_far_from_its_oracle():
    model = strategies.model(CONFIG, 0)
    out, engine = logits(model, QuantisesRawScale)
    verdict = tolerances.exact(out, oracle.logits(model.state_dict(), IDS, 2, round_trip=engine.cache.round_trip))
    assert verdict.error > 1e3 * verdict.allowed, str(verdict)


def test_a_fork_that_shares_its_memory_disturbs_the_original():
    model, more = strategies.model(CONFIG, 0), strategies.ids(2, 2, 5)
    _, engine = logits(model, Aliases)
    twin = engine.fork()
    engine.decode(more[:, :1])
    twin.decode(more[:, 1:])
    verdict = tolerances.exact(
        engine.decode(more[:, 1:]), oracle.logits(model.state_dict(), torch.cat([IDS, more], dim=1), 2)[:, -1]
    )
    assert verdict.error > 1e3 * verdict.allowed, str(verdict)


def test_a_length_that_falls_behind_is_seen_in_the_count_and_in_the_logits():
    model = strategies.model(CONFIG, 0)
    out, engine = logits(model, UnderCounts)
    assert engine.cache.length != IDS.size(1)
    assert not tolerances.exact(out, oracle.logits(model.state_dict(), IDS, 2))


@pytest.mark.parametrize(
    "broken",
    [
        lambda q, k, v: attention.sdpa(q * q.size(3) ** 0.5 / 8, k, v),  # the softmax scale of another head size
        lambda q, k, v: attention.sdpa(q, v, k),  # K and V swapped
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),  # upper-left mask
    ],
    ids=["scale", "swapped", "upper-left"],
)
def test_attention_that_is_wrong_for_every_cache_alike_is_seen_by_the_independent_oracle(broken):
    model = strategies.model(CONFIG, 0)
    engine = kvgpt.Engine(model, "dense", 2)
    engine.cache.attention = broken
    out = torch.cat([engine.prefill(chunk, every_position=True) for chunk in IDS.split([5, 7], dim=1)], dim=1)
    verdict = tolerances.exact(out, oracle.logits(model.state_dict(), IDS, 2))
    assert verdict.error > 1e3 * verdict.allowed, str(verdict)


def test_a_follower_that_reads_the_wrong_owner_is_seen():
    model = strategies.model(CONFIG, 0)
    shared = model.share("cla2")
    list(shared.blocks())[3].attn.slot = 0
    out, _ = logits(shared, "dense+cla2")
    assert not tolerances.exact(out, oracle.logits(model.state_dict(), IDS, 2, group=2))
    with pytest.raises(ValueError, match="not now those of layer 0"):
        shared(IDS)


def test_attention_in_a_lower_precision_than_its_dtype_fails_the_error_ratio():
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 20, 16, generator=generator)
    out = attention.sdpa(*(part.bfloat16() for part in (q, k, v))).float()
    plain = [path(q, k, v) for path in attention.PATHS.values()]
    assert not any(tolerances.by_ratio(out, plain, oracle.attention(q, k, v)))


def test_an_error_that_is_not_a_number_never_passes():
    assert not tolerances.exact(torch.tensor([float("nan")]), torch.zeros(1, dtype=torch.float64))


def test_one_wrong_token_of_context_moves_the_mean_loss_beyond_its_tolerance():
    model = strategies.model(CONFIG, 0, torch.float32)
    right = perplexity.Windows.cut(strategies.ids(1, 240, 3)[0], 24, 24)
    wrong = replace(right, ids=right.ids.clone())
    wrong.ids[3, 0] = 30 - wrong.ids[3, 0]
    one, other = (perplexity.autoregressive(kvgpt.Engine(model, "v1", 5), windows) for windows in (right, wrong))
    assert abs(one.mean - other.mean) > 10 * tolerances.MEAN_NLL_FLOAT32


def test_codes_made_with_the_unrounded_scale_exceed_half_the_stored_one():
    x = torch.linspace(-1, 1, 4001, dtype=torch.float64)[None] * 1.0007
    scale = (x.abs().amax(-1) / int8.LEVELS).to(torch.float16)
    codes = (x / (x.abs().amax(-1) / int8.LEVELS)).round().to(torch.int8)
    error = (x - int8.dequantise(codes, scale, torch.float64)).abs().max()
    assert float(error) > float(scale) / 2 * (1 + 1e-12)
