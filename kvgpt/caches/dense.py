"""DenseCache: preallocated, in the model's dtype, written in place (variant v1)."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from kvgpt.attention import sdpa
from kvgpt.caches.base import KVShape
from kvgpt.caches.codecs.attention import loop_for
from kvgpt.caches.decoding import DecodingStorage
from kvgpt.native import attention as native


class DenseCache(DecodingStorage):
    """Two tensors (B, H, max_length, D) a layer; ``read`` returns views of what is filled."""

    kernels = "dense"

    def __init__(self, shape: KVShape) -> None:
        super().__init__(shape)
        size = (shape.batch_size, shape.n_head, shape.max_length, shape.head_dim)
        layers = range(shape.n_layer)
        self.k = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in layers]
        self.v = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in layers]

    def write(self, layer: int, where: slice | Tensor, k: Tensor, v: Tensor) -> None:
        self.k[layer][:, :, where] = k
        self.v[layer][:, :, where] = v

    def stored(self, layer: int) -> Sequence[Tensor]:
        return self.k[layer], self.v[layer]

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        filled = self.filled(layer)
        return self.k[layer][:, :, :filled], self.v[layer][:, :, :filled]  # (B, H, S, D)

    def attend_held(self, layer: int, q: Tensor) -> Tensor:
        kept = native.VECTORS.get(self.shape.dtype) if self.attention is sdpa else None
        run = loop_for(q, kept, kept, self.shape.n_head, self.filled(layer))
        if run is None:
            return super().attend_held(layer, q)
        k, v = self.read(layer)
        return native.attend(run, q, [k], [v])

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
