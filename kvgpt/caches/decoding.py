"""A storage whose decode steps one kernel takes: append, quantise and attend in a single launch."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

from torch import Tensor

from kvgpt.attention import sdpa
from kvgpt.caches.base import KVShape, Storage
from kvgpt.kernels.choose import Decode, decoding
from kvgpt.kernels.plan import Meeting


class DecodingStorage(Storage):
    """``kernels`` names the module of :mod:`kvgpt.kernels` whose kernel knows this storage. It is asked for by each
    class for itself, never inherited: a subclass may append or read otherwise.

    ``kernel`` is None where there is none for the device. It takes the place of the default attention alone, and of no
    path that was asked for by name.
    """

    kernels: ClassVar[str | None] = None

    def __init__(self, shape: KVShape) -> None:
        super().__init__(shape)
        name = vars(type(self)).get("kernels")
        self.kernel: Decode | None = decoding(name, shape.dtype, shape.device) if name else None
        self.meeting = Meeting(shape.device)

    @abstractmethod
    def stored(self, layer: int) -> Sequence[Tensor]:
        """The tensors of a layer, in the order in which the kernel takes them."""

    @property
    def graphable(self) -> bool:
        return self.kernel is not None and self.attention is sdpa

    def attend(self, layer: int, q: Tensor, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        if self.kernel is None or self.attention is not sdpa or q.shape[2:3] != (1,):
            return super().attend(layer, q, k, v)
        self.check(layer, q, k, v)
        if k is not None:
            self.claim(layer, 1)
        return self.kernel(q, k, v, *self.stored(layer), self.position, self.meeting)

    def fork(self) -> Self:
        twin = super().fork()
        twin.kernel = self.kernel
        return twin
