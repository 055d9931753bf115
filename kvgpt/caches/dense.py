"""DenseCache: preallocated, in the model's dtype, written in place (variant v1)."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from kvgpt.attention import sdpa
from kvgpt.caches.base import KVShape
from kvgpt.caches.codecs.attention import pays, vectors_in_one_pass
from kvgpt.caches.decoding import DecodingStorage
from kvgpt.compiling import uncompilable


class DenseCache(DecodingStorage):
    """Two tensors (B, H, max_length, D) a layer; ``read`` returns views of what is filled."""

    kernels = "dense"

    def __init__(self, shape: KVShape) -> None:
        super().__init__(shape)
        size = (shape.batch_size, shape.n_head, shape.max_length, shape.head_dim)
        layers = range(shape.n_layer)
        self.k = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in layers]
        self.v = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in layers]
        # On a CPU torch's attention makes matrix products of single queries, which are slow in 16 bits.
        narrow = shape.device.type == "cpu" and shape.dtype.itemsize == 2
        self.compiles = narrow and uncompilable(shape.device) is None

    def write(self, layer: int, where: slice | Tensor, k: Tensor, v: Tensor) -> None:
        self.k[layer][:, :, where] = k
        self.v[layer][:, :, where] = v

    def stored(self, layer: int) -> Sequence[Tensor]:
        return self.k[layer], self.v[layer]

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        filled = self.filled(layer)
        return self.k[layer][:, :, :filled], self.v[layer][:, :, :filled]  # (B, H, S, D)

    def attend_held(self, layer: int, q: Tensor) -> Tensor:
        plain = q.size(2) > 1 or self.attention is not sdpa or not self.compiles
        if plain or not pays(q, self.shape.n_head, self.filled(layer)):
            return super().attend_held(layer, q)
        return vectors_in_one_pass(q, *self.read(layer))

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.k + self.v)

    def reset(self) -> None:
        super().reset()

    def crop(self, length: int) -> None:
        super().crop(length)

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = self.rows(rows)
        super().select(index)
        self.k = [k[index] for k in self.k]
        self.v = [v[index] for v in self.v]

    def fork(self) -> Self:
        twin = super().fork()
        for mine, theirs in zip(self.k + self.v, twin.k + twin.v, strict=True):
            theirs[:, :, : self.length] = mine[:, :, : self.length]
        return twin

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{layer}": tensor[:, :, : self.length]
            for name, tensors in (("k", self.k), ("v", self.v))
            for layer, tensor in enumerate(tensors)
        }
