"""Samplers that draw what they must not."""

import torch
from bugs import planted

from kvgpt.sampling import Sampler, uniforms


@planted("huggingface/transformers#23088", "G2-drawn", part="sampler")
class DrawsTheImpossible(Sampler):
    def pick(self, logits, u):
        if self.temperature == 0.0:
            return super().pick(logits, u)
        cumulative = self.probabilities(logits).cumsum(dim=-1)
        return torch.searchsorted(cumulative, u.unsqueeze(-1) * cumulative[:, -1:], right=False)


@planted("huggingface/transformers#23088", "G2-drawn", part="sampler")
class DrawsInFloat16(Sampler):
    def pick(self, logits, u):
        if self.temperature == 0.0:
            return super().pick(logits, u)
        cumulative = self.probabilities(logits).half().cumsum(dim=-1)
        return torch.searchsorted(cumulative, u.half().unsqueeze(-1), right=True).clamp(max=logits.size(1) - 1)


@planted("Lightning-AI/litgpt, on karpathy/nanoGPT's top_k", "G4-support", part="sampler")
class TopKKeepsTies(Sampler):
    def probabilities(self, logits):
        if self.top_k is not None and self.top_k < logits.size(1):
            least = logits.topk(self.top_k).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        return Sampler(self.temperature, None, self.top_p).probabilities(logits)


@planted("rasbt/reasoning-from-scratch#164", "G4-support", part="sampler")
class TopPDropsTheCrossingToken(Sampler):
    def probabilities(self, logits):
        full = Sampler(self.temperature, self.top_k).probabilities(logits)
        if self.top_p in (None, 1.0):
            return full
        ordered, order = full.sort(dim=1, descending=True, stable=True)
        kept = ordered.cumsum(dim=1) < self.top_p
        kept[:, 0] = True
        ordered = ordered.masked_fill(~kept, 0.0)
        return torch.zeros_like(full).scatter_(1, order, ordered / ordered.sum(dim=1, keepdim=True))


@planted("ml-explore/mlx-lm#388", "G4-support", part="sampler")
class TopPBeforeTopK(Sampler):
    def probabilities(self, logits):
        chances = Sampler(self.temperature, None, self.top_p).probabilities(logits)
        return Sampler(1.0, self.top_k).probabilities(chances.log()) if self.top_k else chances


@planted("fishaudio/fish-speech#1326", "G4-support", part="sampler")
class TopPOverTheBatch(Sampler):
    def probabilities(self, logits):
        chances = Sampler(self.temperature, self.top_k).probabilities(logits)
        if self.top_p in (None, 1.0):
            return chances
        ordered, order = chances.sort(dim=1, descending=True, stable=True)
        before = ordered.cumsum(dim=0) - ordered
        ordered = ordered.masked_fill(before >= self.top_p, 0.0)
        return torch.zeros_like(chances).scatter_(1, order, ordered / ordered.sum(dim=1, keepdim=True))


@planted("rasbt/reasoning-from-scratch#164", "G4-support", part="sampler")
class TopPIsNotRescaled(Sampler):
    def probabilities(self, logits):
        full, cut = Sampler(self.temperature, self.top_k).probabilities(logits), super().probabilities(logits)
        return torch.where(cut > 0, full, 0.0)


@planted("karpathy/nanochat, test_multi_sample_first_token_diversity", "G7-chances", part="uniforms")
def one_stream_for_all_rows(seed, rows, n):
    return uniforms(0 if isinstance(seed, list) else seed, 1, rows * n).view(n, rows).T


@planted("pytorch/pytorch, torch.rand in float32", "G7-chances", part="uniforms")
def closed_above(seed, rows, n):
    drawn = uniforms(seed, rows, n)
    return torch.where(drawn > 0.99, 1.0, drawn)
