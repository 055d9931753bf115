"""Their ``QuantizedCache``, one class for each way in which it keeps its numbers.

A step's own vectors are attended as they were given, and later as what became of them: there is no ``round_trip``.
"""

from math import gcd
from typing import ClassVar

import torch
from torch import Tensor

from kvgpt.caches.base import KVShape
from kvgpt.caches.transformers.adapter import Crops, Forks, Resets, Selects, TransformersStyle
from kvgpt.caches.transformers.config import model_config


class Quantised(Resets, Crops, Selects):
    """What all of them offer, by their methods' names."""

    lossy = True

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """What an update by no tokens returns. It changes nothing that is kept, and needs no copy, which quanto's
        tensors refuse.
        """
        shape, filled = self.shape, self.filled(layer)
        size = (shape.batch_size, shape.n_head, 0, shape.head_dim)
        k, v = (torch.zeros(size, dtype=shape.dtype, device=shape.device) for _ in range(2))
        if filled:
            with torch.inference_mode():
                k, v = self.theirs.update(k, v, layer)
        return k[:, :, :filled], v[:, :, :filled]


class Fp8(Quantised, Forks):
    """In float8_e4m3fn, with one scale for a layer's keys and one for its values, from the first update of each."""

    def build(self, shape: KVShape) -> TransformersStyle:
        from transformers import QuantizedCache

        return QuantizedCache("fp8", model_config(shape))


class Quanto4(Quantised):
    """In 4 bits by optimum-quanto, in groups of at most 64 numbers of one vector; up to ``residual_length`` tokens are
    kept as they are. A subclass may set the other fields differently.
    """

    backend: ClassVar[str] = "quanto"
    nbits: ClassVar[int] = 4
    axis: ClassVar[int] = 0  # the one along which numbers that lie side by side make a group
    residual_length: ClassVar[int] = 128

    def build(self, shape: KVShape) -> TransformersStyle:
        from transformers import QuantizedCache

        group = shape.head_dim if shape.head_dim < 64 else gcd(shape.head_dim, 64)
        return QuantizedCache(
            self.backend,
            model_config(shape),
            nbits=self.nbits,
            axis_key=self.axis,
            axis_value=self.axis,
            q_group_size=group,
            residual_length=self.residual_length,
        )


class Quanto2(Quanto4):
    """As :class:`Quanto4`, in 2 bits."""

    nbits = 2


class Hqq4(Quanto4, Forks):
    """As :class:`Quanto4`, by HQQ."""

    backend = "hqq"
    axis = 1


class Hqq8(Hqq4):
    """As :class:`Hqq4`, in 8 bits."""

    nbits = 8
