"""Evaluators whose perplexity is another number than they say."""

from dataclasses import replace

import torch
from bugs import planted

from kvgpt.engine import Engine
from kvgpt.perplexity import Score, Windows, autoregressive, teacher_forced


@planted("ggml-org/llama.cpp#4981", "F1-one-definition", "F2-losses", part="engine")
class ForgetsToResetBetweenWindows(Engine):
    def reset(self):
        if self.cache.length > 1:
            self.cache.crop(1)
        else:
            super().reset()


@planted("huggingface/transformers#18887", "F2-losses", part="windows")
class DropsTheLastWindow(Windows):
    @classmethod
    def cut(cls, ids, window, stride, max_tokens=None):
        whole = Windows.cut(ids, window, stride, max_tokens)
        return cls(whole.ids[:-1], whole.scored[:-1]) if len(whole.ids) > 1 else whole


@planted("ggml-org/llama.cpp#2714", "F2-losses", part="windows")
class ScoresTheOverlapTwice(Windows):
    @classmethod
    def cut(cls, ids, window, stride, max_tokens=None):
        whole = Windows.cut(ids, window, stride, max_tokens)
        scored = whole.scored.clone()
        scored[:-1, 1:] = True
        return cls(whole.ids, scored)


@planted("ggml-org/llama.cpp#2714", "F2-losses", part="windows")
class ScoresTheFirstToken(Windows):
    """Shifts what is scored by one: a loss stands for the token before its own."""

    @classmethod
    def cut(cls, ids, window, stride, max_tokens=None):
        whole = Windows.cut(ids, window, stride, max_tokens)
        return cls(whole.ids.roll(1, dims=1), whole.scored)


class MeanOfMeans(Score):
    @property
    def mean(self):
        windows = [self.nll[self.window == one].mean() for one in self.window.unique()]
        return float(torch.stack(windows).mean())


class MeanOfExponentials(Score):
    @property
    def perplexity(self):
        return float(self.nll.exp().mean())


class IndependentTokens(Score):
    @property
    def stderr(self):
        return float(self.nll.std() / len(self.nll) ** 0.5)


class ComparesAnything(Score):
    def change(self, reference):
        n = min(len(self.nll), len(reference.nll))
        shorter, other = (Score(one.nll[:n], self.window[:n], 0) for one in (self, reference))
        return shorter.change(other)


def scored_as(kind, score):
    return kind(score.nll, score.window, score.served)


@planted("ggml-org/llama.cpp#2714", "F4-means", part="forced")
def unweighted_mean(engine, windows):
    return scored_as(MeanOfMeans, teacher_forced(engine, windows))


@planted("huggingface/transformers#18887", "F3-known-answers", part="stepped")
def mean_of_exponentials(engine, windows):
    return scored_as(MeanOfExponentials, autoregressive(engine, windows))


@planted("huggingface/transformers#18887", "F4-means", part="forced")
def tokens_taken_as_independent(engine, windows):
    return scored_as(IndependentTokens, teacher_forced(engine, windows))


@planted("huggingface/transformers#18887", "F4-means", part="forced")
def other_tokens_compared(engine, windows):
    return scored_as(ComparesAnything, teacher_forced(engine, windows))


@planted("the original's default mode, which never touches its cache", "F5-served", part="stepped")
def past_the_cache(engine, windows):
    return teacher_forced(engine, windows)


@planted("the original's default mode, which never touches its cache", "F5-served", part="stepped")
def says_that_it_served(engine, windows):
    score = teacher_forced(engine, windows)
    return replace(score, served=len(score.nll))
