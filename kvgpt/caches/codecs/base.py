"""Codec: what becomes of a vector that is kept in fewer bits, and attention over what is kept of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

Kept = Mapping[str, Tensor]  # the parts of many vectors (...): codes (..., n), scales (...), by name


class Codec(ABC):
    """For vectors of ``head_dim`` numbers. ``symmetric`` and ``error_bound`` are those of
    :class:`~kvgpt.caches.base.KVCache`. ``native`` names the type of kvgpt/native/attention.cpp that reads its parts,
    in the order of :meth:`room`. It is asked for by each class for itself, never inherited: a subclass may decode
    otherwise.
    """

    native: ClassVar[str | None] = None
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
    def scores(self, q: Tensor, kept: Kept) -> Tensor:
        """The products of q (..., G, D), float32 or float64, with the S vectors kept (..., S): (..., G, S)."""

    @abstractmethod
    def mix(self, weights: Tensor, kept: Kept) -> Tensor:
        """The S vectors kept (..., S), summed with weights (..., G, S), float32 or float64: (..., G, D)."""
