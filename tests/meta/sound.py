"""Caches that are right, of kinds that kvgpt does not ship: what the kit must pass, and what bugs are planted in."""

import torch

import kvgpt
from kvgpt.caches.dense import DenseCache
from kvgpt.caches.int4 import Int4Cache
from kvgpt.caches.int8 import Int8Cache


class Listed(kvgpt.KVCache):
    """Three methods and nothing else, as a user writes a cache first."""

    def __init__(self, shape):
        self.stored = [[] for _ in range(shape.n_layer)]

    def append(self, layer, k, v):
        self.stored[layer].append((k.clone(), v.clone()))

    def read(self, layer):
        k, v = zip(*self.stored[layer], strict=True)
        return torch.cat(k, dim=2), torch.cat(v, dim=2)

    @property
    def nbytes(self):
        return sum(k.nbytes + v.nbytes for layer in self.stored for k, v in layer)


class Sliding(kvgpt.KVCache):
    """Keeps the first two tokens and the last others, by concatenation."""

    def __init__(self, shape):
        self.window, self.sinks = shape.max_length, min(2, shape.max_length - 1)
        empty = torch.empty(shape.batch_size, shape.n_head, 0, shape.head_dim, dtype=shape.dtype, device=shape.device)
        self.k, self.v = ([empty.clone() for _ in range(shape.n_layer)] for _ in range(2))

    def append(self, layer, k, v):
        self.k[layer], self.v[layer] = self.slide(self.k[layer], k), self.slide(self.v[layer], v)

    def slide(self, held, new):
        every = torch.cat((held, new), dim=2)
        if every.size(2) <= self.window:
            return every
        return torch.cat((every[:, :, : self.sinks], every[:, :, self.sinks - self.window :]), dim=2)

    def read(self, layer):
        return self.k[layer], self.v[layer]

    @property
    def nbytes(self):
        return sum(tensor.nbytes for tensor in self.k + self.v)

    def reset(self):
        super().reset()
        self.keep(0)

    def crop(self, length):
        super().crop(length)
        self.keep(length)

    def keep(self, length):
        self.k, self.v = ([tensor[:, :, :length].clone() for tensor in tensors] for tensors in (self.k, self.v))


class Graphable(DenseCache):
    """Writes where ``position`` points and masks what lies beyond, so that a captured step can be replayed."""

    graphable = True

    def attend(self, layer, q, k=None, v=None):
        self.check(layer, q, k, v)
        T, S = q.size(2), self.shape.max_length
        places = self.position + torch.arange(T, device=q.device)  # (T,)
        if k is not None:
            self.claim(layer, T)
            self.k[layer].index_copy_(2, places, k)
            self.v[layer].index_copy_(2, places, v)
        seen = torch.arange(S, device=q.device) <= places.unsqueeze(1)  # (T, S)
        ever = seen.any(dim=0).view(1, 1, S, 1)
        k, v = (part.masked_fill(~ever, 0.0) for part in (self.k[layer], self.v[layer]))
        return self.attention(q, k, v, seen)


class TiledInt8(Int8Cache):
    """Decodes from its codes however few they are, as a large cache does."""

    at_once = 0


class TiledInt4(Int4Cache):
    """The same of codes that have a minimum."""

    at_once = 0
