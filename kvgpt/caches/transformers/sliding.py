"""Their sliding layers: a window of the last tokens."""

import torch
from torch import Tensor

from kvgpt.attention import banded_mask
from kvgpt.caches.base import KVShape
from kvgpt.caches.transformers.adapter import Forks, Preallocated, Resets, Selects, TransformersCache, TransformersStyle
from kvgpt.caches.transformers.config import model_config


class Slides(TransformersCache):
    """A window of ``max_length`` tokens, kept by their sliding layers, under the mask that they ask for."""

    def __init__(self, shape: KVShape) -> None:
        super().__init__(shape)
        self.window = shape.max_length
        self._sizes = 0, 0  # how many keys the last update returns, and the position of the first

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """What their layer holds, whatever it returned."""
        one, filled = self.theirs.layers[layer], self.filled(layer)
        return one.keys[:, :, :filled], one.values[:, :, :filled]

    def attend(self, layer: int, q: Tensor, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        self.check(layer, q, k, v)
        if k is not None and v is not None:
            self._sizes = self.theirs.get_mask_sizes(k.size(2), layer)  # asked before the update, as their models do
            self.claim(layer, k.size(2))
            self.append(layer, k, v)
        if self._seen is None or self._seen[0] != layer:
            raise ValueError(f"layer {layer} can be followed only before the next layer appends")
        _, keys, values = self._seen
        places = torch.arange(self.length, self.length + q.size(2), device=q.device)
        number, first = self._sizes
        held = torch.arange(first, first + number, device=q.device)
        return self.attention(q, keys, values, banded_mask(places, held, self.shape.max_length, 0))


class SlidingDynamic(Slides, Resets, Selects, Forks):
    """``DynamicCache`` of sliding layers. They let go of a token before a window of this suite is full, and then refuse
    ``crop``: it is not offered.
    """

    def build(self, shape: KVShape) -> TransformersStyle:
        from transformers import DynamicCache

        return DynamicCache(config=model_config(shape, sliding_window=shape.max_length))


class SlidingStatic(Slides, Preallocated):
    """``StaticCache`` of sliding layers."""

    def build(self, shape: KVShape) -> TransformersStyle:
        from transformers import StaticCache

        return StaticCache(config=model_config(shape, sliding_window=shape.max_length), max_cache_len=shape.max_length)
