"""Windows and policies that lose their place."""

import torch
from bugs import planted

from kvgpt.caches.dense import DenseCache
from kvgpt.caches.int8 import Int8Cache
from kvgpt.caches.window import WindowCache, over
from kvgpt.engine import Engine


class Ring(WindowCache):
    """The window as it is, to be broken in one place."""

    storage, sinks = DenseCache, 2


@planted("ml-explore/mlx-lm#390", "A9-window", "A12-causality")
class MaskOneTooWide(Ring):
    def _attend_window(self, window, layer, q, k, v):
        right = self.attention
        self.attention = lambda q, k, v, mask: right(q, k, v, self.wider(mask))
        try:
            return super()._attend_window(window, layer, q, k, v)
        finally:
            self.attention = right

    def wider(self, mask):
        recent = mask[:, self.sinks :]
        return torch.cat(
            (mask[:, : self.sinks], recent | recent.roll(-1, dims=1).tril(mask.size(1) - len(mask))), dim=1
        )


@planted("mit-han-lab/streaming-llm#93", "A9-window", "I1-life")
class SinksPassToo(Ring):
    """The ring takes the slots of the first tokens as well."""

    def append(self, layer, k, v):
        first, n = self.length, k.size(2)
        self.claim(layer, n)
        places = torch.arange(max(first, first + n - self.window), first + n)
        new = places - first
        self.store.write(layer, places % self.window, k[:, :, new], v[:, :, new])
        self.store.hold(layer, min(first + n, self.window))


@planted("huggingface/transformers#37574", "A9-window", "I1-life")
class OverwritesTheNewestButOne(Ring):
    """A wrap that is one slot short: what should live longest goes first."""

    def append(self, layer, k, v):
        if self.length < self.window or k.size(2) > 1 or self.ring == 1:
            super().append(layer, k, v)
            return
        self.claim(layer, 1)
        slot = self.sinks + (self.length - 1 - self.sinks) % self.ring
        self.store.write(layer, slice(slot, slot + 1), k, v)
        self.store.hold(layer, self.window)


@planted("jundot/omlx#2201", "A9-window")
class CodesOfTheNewScalesOfTheOld(over(Int8Cache)):
    """Writes its codes around the ring and its scales where the sequence ends."""

    def append(self, layer, k, v):
        scales = self.store.parts["scales"][layer].clone()
        super().append(layer, k, v)
        if self.length >= self.window:
            self.store.parts["scales"][layer].copy_(scales)


class Placed(Engine):
    """Gives a token the position ``place(seen)`` where its policy says ``seen``."""

    def _through(self, ids, every_position):
        sound, place = self.steps.policy, self.place

        class Policy(type(sound)):
            def places(self, seen):
                return place(super().places(seen))

        self.steps.policy = Policy(**vars(sound))
        try:
            return super()._through(ids, every_position)
        finally:
            self.steps.policy = sound


@planted("huggingface/transformers#1749", "A9-window", "I1-life", part="engine", cache="dense+window")
class StuckAtTheLastPosition(Placed):
    """What debug_trim of the original found: the window moves on, the position stays at its end."""

    def place(self, seen):
        return seen.clamp(max=self.max_length - 1)


@planted("huggingface/transformers#33691", "A9-window", "I1-life", part="engine", cache="dense+window")
class KeysReBasedWithoutTurning(Placed):
    """New tokens are placed within the window, over keys that say by which places they came."""

    def place(self, seen):
        return seen - (seen - self.max_length + 1).clamp(min=0) // 2 * 2


@planted("ggml-org/llama.cpp#9383", "A1-chunks", part="engine")
class RecomputesOneTooFew(Engine):
    """Lets go of one more than its policy says."""

    def _begin_again(self):
        super()._begin_again()
        if self._history.size(1) > 1:
            self._history = self._history[:, 1:]


@planted("Lightning-AI/litgpt#1596", "A5-reset", part="engine")
class ForgetsToForgetItsHistory(Engine):
    def reset(self):
        history = self._history
        super().reset()
        if history.size(1) > 2:
            self._history = history[:, :2]
