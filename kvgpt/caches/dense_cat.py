"""DenseCatCache: grows by concatenation, one copy of everything a step; kept to show what preallocation buys."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVShape, Storage


class DenseCatCache(Storage):
    """Two tensors (B, H, S, D) a layer, replaced by longer ones as tokens come."""

    def __init__(self, shape: KVShape) -> None:
        size = (shape.batch_size, shape.n_head, 0, shape.head_dim)
        self.k = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in range(shape.n_layer)]
        self.v = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in range(shape.n_layer)]

    def append(self, layer: int, k: Tensor, v: Tensor) -> None:
        self.claim(layer, k.size(2))
        self.k[layer] = torch.cat([self.k[layer], k], dim=2)  # (B, H, S, D)
        self.v[layer] = torch.cat([self.v[layer], v], dim=2)

    def write(self, layer: int, where: slice | Tensor, k: Tensor, v: Tensor) -> None:
        """Slots that are not there yet come by concatenation."""
        missing = (where.stop if isinstance(where, slice) else int(where.max()) + 1) - self.k[layer].size(2)
        for tensors, new in ((self.k, k), (self.v, v)):
            if missing > 0:
                tensors[layer] = torch.cat([tensors[layer], new.new_empty(*new.shape[:2], missing, new.size(3))], dim=2)
            tensors[layer][:, :, where] = new

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        return self.k[layer], self.v[layer]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.k + self.v)

    def reset(self) -> None:
        super().reset()
        self._keep(0)

    def crop(self, length: int) -> None:
        super().crop(length)
        self._keep(length)

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = self.rows(rows)
        super().select(index)
        self.k = [k[index] for k in self.k]
        self.v = [v[index] for v in self.v]

    def fork(self) -> Self:
        twin = super().fork()
        twin.k = [k.clone() for k in self.k]
        twin.v = [v.clone() for v in self.v]
        return twin

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{layer}": tensor
            for name, tensors in (("k", self.k), ("v", self.v))
            for layer, tensor in enumerate(tensors)
        }

    def restore(self, state: Mapping[str, Tensor], length: int) -> None:
        longest = max(0, min(length, self.shape.max_length))  # any other length is refused below
        size = (self.shape.batch_size, self.shape.n_head, longest, self.shape.head_dim)
        kept = self.k, self.v
        self.k, self.v = ([tensor.new_empty(size) for tensor in tensors] for tensors in kept)
        try:
            super().restore(state, length)
        except ValueError:
            self.k, self.v = kept
            raise

    def _keep(self, length: int) -> None:
        # Copies, not views: a view would hold on to the bytes of what was cut off.
        self.k = [k[:, :, :length].clone() for k in self.k]
        self.v = [v[:, :, :length].clone() for v in self.v]
