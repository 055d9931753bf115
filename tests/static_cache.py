"""StaticCache: decode steps that a graph can repeat, in plain torch: over all places, masked by ``position``."""

import torch

from kvgpt.attention import sdpa
from kvgpt.caches.dense import DenseCache


class StaticCache(DenseCache):
    graphable = True

    def __init__(self, shape):
        super().__init__(shape)
        for room in self.k + self.v:
            room.zero_()  # what is masked must still be a number

    def attend(self, layer, q, k=None, v=None):
        if q.size(2) > 1:
            return super().attend(layer, q, k, v)
        self.check(layer, q, k, v)
        if k is not None:
            self.claim(layer, 1)
            for room, new in ((self.k[layer], k), (self.v[layer], v)):
                room.index_copy_(2, self.position.unsqueeze(0), new)
        seen = torch.arange(self.shape.max_length, device=q.device) <= self.position  # (max_length,)
        return sdpa(q, self.k[layer], self.v[layer], seen.unsqueeze(0))
