"""Caches that keep vectors through codecs, K and V each through its own: all that int8, int4 and fp8 have in common."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVShape, Storage
from kvgpt.caches.codecs.attention import TILE, Side, in_one_pass, in_tiles, loop_for
from kvgpt.caches.codecs.base import Codec
from kvgpt.caches.decoding import DecodingStorage


class QuantisedCache(Storage):
    """Keys go through the codec ``keys`` and values through ``values``; attends over a dequantised copy of all of it.

    ``parts`` are tensors (n, B, H, max_length, ...) by name, one a layer: n = 2, K and V, where both have one codec.
    """

    lossy = True
    keys: ClassVar[type[Codec]]
    values: ClassVar[type[Codec]]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if hasattr(cls, "keys") and hasattr(cls, "values"):
            cls.symmetric = cls.keys.symmetric and cls.values.symmetric
            cls.error_bound = max(cls.keys.error_bound, cls.values.error_bound)

    def __init__(self, shape: KVShape) -> None:
        keys, values = self.keys(shape.head_dim), self.values(shape.head_dim)
        alike = self.keys is self.values
        self.sides = (Side("", keys, 2),) if alike else (Side("k.", keys, 1), Side("v.", values, 1))
        self.parts = {
            side.prefix + name: [
                torch.empty(
                    (side.count, shape.batch_size, shape.n_head, shape.max_length, *size),
                    dtype=dtype,
                    device=shape.device,
                )
                for _ in range(shape.n_layer)
            ]
            for side in self.sides
            for name, (size, dtype) in side.codec.room().items()
        }

    def write(self, layer: int, where: slice | Tensor, k: Tensor, v: Tensor) -> None:
        for side, x in zip(self.sides, torch.stack((k, v)).chunk(len(self.sides)), strict=True):
            for name, part in side.codec.encode(x).items():
                self.parts[side.prefix + name][layer][:, :, :, where] = part

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        held, dtype = slice(self.filled(layer)), self.shape.dtype
        k, v = (x for side in self.sides for x in side.codec.decode(self._kept(side, layer, held), dtype))
        return k, v  # each (B, H, S, D)

    def round_trip(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.keys(k.size(-1)), self.values(v.size(-1))
        return keys.decode(keys.encode(k), k.dtype), values.decode(values.encode(v), v.dtype)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensors in self.parts.values() for tensor in tensors)

    def reset(self) -> None:
        super().reset()

    def crop(self, length: int) -> None:
        super().crop(length)

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = self.rows(rows)
        super().select(index)
        self.parts = {name: [part[:, index] for part in parts] for name, parts in self.parts.items()}

    def fork(self) -> Self:
        twin = super().fork()
        for name, parts in self.parts.items():
            for mine, theirs in zip(parts, twin.parts[name], strict=True):
                theirs[:, :, :, : self.length] = mine[:, :, :, : self.length]
        return twin

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{layer}": part[:, :, :, : self.length]
            for name, parts in self.parts.items()
            for layer, part in enumerate(parts)
        }

    def _kept(self, side: Side, layer: int, where: slice) -> dict[str, Tensor]:
        """The parts (n, B, H, S, ...) of a side's vectors at these places, by the codec's own names."""
        return {name: self.parts[side.prefix + name][layer][:, :, :, where] for name in side.codec.room()}


class CodedCache(DecodingStorage, QuantisedCache):
    """Decodes from the codes: no dequantised cache is made, but for ``at_once`` tokens of a small one, which are no
    more than a tile has.
    """

    at_once: ClassVar[int] = TILE

    def stored(self, layer: int) -> Sequence[Tensor]:
        return [parts[layer] for parts in self.parts.values()]

    def attend_held(self, layer: int, q: Tensor) -> Tensor:
        held = self.filled(layer)
        keys, values = (vars(codec).get("native") for codec in (self.keys, self.values))
        run = loop_for(q, keys, values, self.shape.n_head, held)
        if q.size(2) > 1 or (held <= self.at_once and run is None):  # in fewer calls
            return super().attend_held(layer, q)
        kept = [(side, self._kept(side, layer, slice(held))) for side in self.sides]
        return in_tiles(q, kept) if run is None else in_one_pass(run, q, kept)
