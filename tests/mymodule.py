"""A cache of one's own, of three methods: what a user has in an empty folder."""

import torch

import kvgpt


class MyCache(kvgpt.KVCache):
    def __init__(self, shape):
        self.kept = [[] for _ in range(shape.n_layer)]

    def append(self, layer, k, v):
        self.kept[layer].append((k.clone(), v.clone()))

    def read(self, layer):
        k, v = zip(*self.kept[layer], strict=True)
        return torch.cat(k, dim=2), torch.cat(v, dim=2)

    @property
    def nbytes(self):
        return sum(k.nbytes + v.nbytes for layer in self.kept for k, v in layer)
