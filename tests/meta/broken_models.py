"""Models and engines that are wrong for every cache alike."""

import torch
from bugs import planted

from kvgpt.conformance import strategies
from kvgpt.engine import Engine
from kvgpt.model import GPT, CausalSelfAttention


def plant(config, seed, dtype, model_class):
    """A model of strategies.model's weights that computes with another class."""
    sound = strategies.model(config, seed, dtype)
    return model_class(config, seed=None).assign(sound.state_dict(), sound.weights)


class Positions(GPT):
    """Places the T tokens of a step by ``place(start, T)``."""

    def forward(self, ids, cache=None, positions=None, last_only=False):
        start = torch.tensor(0) if cache is None else cache.position
        return super().forward(ids, cache, self.place(start, ids.size(1)), last_only)


class Restarting(Positions):
    def place(self, start, T):
        return torch.arange(T)


class Skipping(Positions):
    def place(self, start, T):
        return torch.zeros(1, dtype=torch.int64) if T == 1 else start + torch.arange(T)


class Collapsing(Positions):
    """bfloat16 tells 257 from 258 no more; half of its bits here, for a context that is short."""

    def place(self, start, T):
        return ((start + torch.arange(T)).to(torch.float8_e5m2).long()).clamp(max=self.config.block_size - 1)


class Stuck(Positions):
    def place(self, start, T):
        return (start + torch.arange(T)).clamp(max=self.config.block_size // 2)


@planted("ml-explore/mlx-lm#93", "A1-chunks", part="build")
def positions_restart(config, seed, dtype):
    return plant(config, seed, dtype, Restarting)


@planted("ml-explore/mlx-lm#93", "A1-chunks", part="build")
def one_token_has_no_position(config, seed, dtype):
    return plant(config, seed, dtype, Skipping)


@planted("EleutherAI/gpt-neox#1016", "A1-chunks", part="build")
@planted("huggingface/transformers#29285", "A1-chunks", part="build")
def positions_collapse(config, seed, dtype):
    return plant(config, seed, dtype, Collapsing)


@planted("huggingface/transformers#1749", "A1-chunks", part="build")
def positions_are_clamped(config, seed, dtype):
    return plant(config, seed, dtype, Stuck)


class SwappedAttention(CausalSelfAttention):
    def forward(self, x, cache, turn):
        B, T, C = x.shape
        q, *kv = self.c_attn(x).split(self.widths, dim=-1)
        heads = [part.view(B, T, -1, self.head_dim).transpose(1, 2) for part in (q, *reversed(kv))]
        return self.c_proj(cache.attend(self.slot, *heads).transpose(1, 2).reshape(B, T, C))


class ScaledAttention(CausalSelfAttention):
    """Scores divided by head_dim, not by its root: in the cached and in the uncached path alike."""

    def forward(self, x, cache, turn):
        width = self.widths[0]
        weight, bias = self.c_attn.weight.clone(), self.c_attn.bias.clone()
        weight[:width] /= self.head_dim**0.5
        bias[:width] /= self.head_dim**0.5
        B, T, C = x.shape
        projected = torch.nn.functional.linear(x, weight, bias).split(self.widths, dim=-1)
        heads = [part.view(B, T, -1, self.head_dim).transpose(1, 2) for part in projected]
        return self.c_proj(cache.attend(self.slot, *heads).transpose(1, 2).reshape(B, T, C))


def attending(attention):
    class Model(GPT):
        def __init__(self, config, seed=0):
            super().__init__(config, seed)
            for block in self.h:
                block.attn.__class__ = attention

    return Model


@planted("equivalence alone cannot see it: pytorch/executorch#21749", "A1-chunks", part="build")
def keys_and_values_swapped(config, seed, dtype):
    return plant(config, seed, dtype, attending(SwappedAttention))


@planted("equivalence alone cannot see it: huggingface/transformers#27040", "A1-chunks", part="build")
def softmax_scale_wrong_everywhere(config, seed, dtype):
    return plant(config, seed, dtype, attending(ScaledAttention))


class Sharing(GPT):
    """Shares by ``distort(shared)``."""

    def share(self, sharing):
        shared = super().share(sharing)
        return self.distort(shared) if sharing else shared


class WrongSlot(Sharing):
    def distort(self, shared):
        for layer, owner in enumerate(shared.config.owners):
            if owner != layer:
                shared.h[layer].attn.slot = 0
        return shared


class OnlyCached(GPT):
    """Followers follow only where there is a cache."""

    def share(self, sharing):
        shared, plain = super().share(sharing), self

        class Split(GPT):
            def forward(self, ids, cache=None, positions=None, last_only=False):
                return (plain if cache is None else shared)(ids, cache, positions, last_only)

        return Split(shared.config, seed=None).assign(shared.state_dict(), shared.weights)


class ThroughHalf(Sharing):
    def distort(self, shared):
        for parameter in shared.parameters():
            parameter.data = parameter.data.bfloat16().to(parameter.dtype)
        return shared


class Rotating(GPT):
    """Turns an aligned model's queries once more at every step."""

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.again = config.align is not None

    def forward(self, ids, cache=None, positions=None, last_only=False):
        out = super().forward(ids, cache, positions, last_only)
        return out * (1 + 1e-6) if self.again else out

    def share(self, sharing):
        shared = GPT.share(self, sharing)
        return Rotating(shared.config, seed=None).assign(shared.state_dict(), shared.weights)


@planted("Alberto-Codes/turboquant-vllm#79", "C3-shared-model", part="build", cache="v3")
def followers_read_the_first_slot(config, seed, dtype):
    return plant(config, seed, dtype, WrongSlot)


@planted("ml-explore/mlx-lm#1674", "C3-shared-model", part="build", cache="v3")
def layers_share_only_with_a_cache(config, seed, dtype):
    return plant(config, seed, dtype, OnlyCached)


@planted("ml-explore/mlx-lm#1674", "C4-groups-of-one", part="build")
def sharing_goes_through_half_precision(config, seed, dtype):
    return plant(config, seed, dtype, ThroughHalf)


@planted("ml-explore/mlx-lm#1702", "C6-alignment", part="build", cache="v3")
def alignment_acts_at_inference(config, seed, dtype):
    return plant(config, seed, dtype, Rotating)


@planted("Lightning-AI/litgpt#2310", "D2-closed-form", part="engine")
class AllocatesTwiceTheRoom(Engine):
    def __init__(self, model, variant="v1", batch_size=1, max_length=None, **rest):
        super().__init__(model, variant, batch_size, max_length, **rest)
        self.cache = self.recipe.cache(self.model.kv_shape(batch_size, 2 * self.max_length))


@planted("huggingface/transformers#3021", "H2-saved-for-another", part="engine")
class LoadsAnything(Engine):
    def _identity(self):
        return {"batch_size": self.batch_size}


@planted("huggingface/transformers#36151", "G1-greedy", part="engine")
class FeedsThePromptsEndTwice(Engine):
    def _stream(self, ids, sampler, drawn, eos, together):
        self.reset()
        if ids.size(1) + drawn.size(1) < self.room:
            self._step(ids, every_position=False)
            ids = ids[:, -1:]
        for u in drawn.unbind(dim=1):
            ids = sampler.pick(self._step(ids, every_position=False), u)
            yield ids


@planted("karpathy/nanochat, test_multi_sample_first_token_diversity", "G5-rows", part="engine")
class FirstTokenOnceForAllRows(Engine):
    def _stream(self, ids, sampler, drawn, eos, together):
        drawn = drawn.clone()
        drawn[:, :1] = drawn[:1, :1]
        return super()._stream(ids, sampler, drawn, eos, together)


@planted("vllm-project/vllm, tests/v1/determinism", "G5-rows", part="engine")
class RowsDrawByTheirPlace(Engine):
    def _stream(self, ids, sampler, drawn, eos, together):
        return super()._stream(ids, sampler, (drawn + torch.arange(len(drawn)).unsqueeze(1) * 0.37) % 1, eos, together)


@planted("huggingface/transformers#23088", "G3-prefix", part="engine")
class DrawsFromTheGlobalGenerator(Engine):
    def _stream(self, ids, sampler, drawn, eos, together):
        drawn = torch.rand(drawn.shape, dtype=drawn.dtype) if drawn.any() else drawn
        return super()._stream(ids, sampler, drawn, eos, together)


@planted("meta-pytorch/gpt-fast, generate.py", "G6-stopping", part="engine")
class GoesOnAfterEos(Engine):
    def _stream(self, ids, sampler, drawn, eos, together):
        return super()._stream(ids, sampler, drawn, None, together)
