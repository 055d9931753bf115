"""Codec: what becomes of a vector that is kept in fewer bits, and attention over what is kept of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

Kept = Mapping[str, Tensor]  # the parts of many vectors (...): codes (..., n), scales (...), by name


class Products(NamedTuple):
    """How vectors are multiplied: ``dot`` q (..., G, D) with x (..., S, D), and ``mix`` w (..., G, S) with them."""

    dot: Callable[[Tensor, Tensor], Tensor]
    mix: Callable[[Tensor, Tensor], Tensor]


MATRIX = Products(lambda q, x: q @ x.transpose(-2, -1), torch.matmul)
# The same written out: a compiler makes one loop of it, and of what x is computed from, where a product needs x whole.
LOOP = Products(
    lambda q, x: (q.unsqueeze(-2) * x.unsqueeze(-3)).sum(dim=-1),
    lambda w, x: (w.unsqueeze(-1) * x.unsqueeze(-3)).sum(dim=-2),
)


class Codec(ABC):
    """For vectors of ``head_dim`` numbers. ``symmetric`` and ``error_bound`` are those of
    :class:`~kvgpt.caches.base.KVCache`.
    """

    symmetric: ClassVar[bool]
    error_bound: ClassVar[float]

    def __init__(self, head_dim: int) -> None:
        self.head_dim = head_dim

    @abstractmethod
    def room(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """The parts of one vector: the shape and dtype of each, by name."""

    @abstractmethod
    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """X (..., D) of any float dtype -> its parts."""

    @abstractmethod
    def decode(self, kept: Kept, dtype: torch.dtype) -> Tensor:
        """Parts -> (..., D) of ``dtype``."""

    @abstractmethod
    def scores(self, q: Tensor, kept: Kept, products: Products = MATRIX) -> Tensor:
        """The products of q (..., G, D), float32 or float64, with the S vectors kept (..., S): (..., G, S)."""

    @abstractmethod
    def mix(self, weights: Tensor, kept: Kept, products: Products = MATRIX) -> Tensor:
        """The S vectors kept (..., S), summed with weights (..., G, S), float32 or float64: (..., G, D)."""
