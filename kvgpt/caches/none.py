"""NoCache: keeps nothing between steps, so every step recomputes the whole history (variant v0)."""

from collections.abc import Sequence
from typing import Self

from torch import Tensor

from kvgpt.caches.base import KVCache, KVShape


class NoCache(KVCache):
    """Holds one layer's vectors, and those only until the step ends or the next layer's come.

    The history lives in the engine, which resets this cache before each step and feeds it everything again;
    ``crop``, ``select`` and ``fork`` therefore have nothing to move.
    """

    stateless = True

    def __init__(self, shape: KVShape) -> None:
        self._step: tuple[Tensor, Tensor] | None = None
        self._layer = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> None:
        if self.length:
            raise ValueError(
                f"NoCache kept none of the {self.length} tokens before this step: reset() and feed them again"
            )
        self.claim(layer, k.size(2))
        self._layer, self._step = layer, (k.clone(), v.clone())

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        if self._step is None or layer != self._layer:
            raise ValueError(f"NoCache holds the vectors of one layer at a time, and not now those of layer {layer}")
        return self._step

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._step or ())

    def advance(self, n: int) -> None:
        super().advance(n)
        self._step = None

    def reset(self) -> None:
        super().reset()
        self._step = None

    def crop(self, length: int) -> None:
        super().crop(length)
        self._step = None

    def select(self, rows: Tensor | Sequence[int]) -> None:
        super().select(rows)

    def fork(self) -> Self:
        return super().fork()

    def state(self) -> dict[str, Tensor]:
        return {}
