"""The adapter: a cache of transformers' kind behind the contract of :class:`KVCache`, and what it may offer.

An adapter is a subclass of :class:`TransformersCache` that says how to build the cache, and of those classes below
whose operations the cache has.
"""

import copy
from collections.abc import Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache, KVShape
from kvgpt.storages import distinct_bytes, tensors_of


class TransformersStyle(Protocol):
    """What is asked of a cache of theirs; ``reset``, ``crop`` and the others are used where it has them."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]: ...

    def get_seq_length(self) -> Any: ...  # theirs may be a tensor


class TransformersCache(KVCache):
    """``theirs``, and what it returned for the layer that was updated last, until the step ends.

    ``attend`` is attention over what ``update`` returns, as in a model of transformers; ``read`` is what is stored. Its
    methods run in inference mode, as the engine's steps do: what was made there can be written to only there.
    """

    def __init__(self, shape: KVShape) -> None:
        self.theirs: Any = self._empty()

    def build(self, shape: KVShape) -> TransformersStyle:
        """A cache of theirs, empty, for this shape."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its cache is built: define build(shape)")

    def _empty(self) -> TransformersStyle:
        return self.build(self.shape)

    def attend(self, layer: int, q: Tensor, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        self.check(layer, q, k, v)
        if k is not None and v is not None:
            self.claim(layer, k.size(2))
            self.append(layer, k, v)
        return self.attention(q, *self._visible(layer), None)

    def append(self, layer: int, k: Tensor, v: Tensor) -> None:
        with torch.inference_mode():
            keys, values = self.theirs.update(k, v, layer)
        self._seen = layer, _apart(keys, k, v), _apart(values, k, v)

    def _visible(self, layer: int) -> tuple[Tensor, Tensor]:
        """What ``update`` returned, up to what is filled; a layer that was not updated last is read."""
        if self._seen is None or self._seen[0] != layer:
            return self.read(layer)
        _, k, v = self._seen
        return k[:, :, : self.filled(layer)], v[:, :, : self.filled(layer)]

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """What a copy returns beside one token more, or beside none where there is no room for one."""
        shape, filled = self.shape, self.filled(layer)
        size = (shape.batch_size, shape.n_head, int(filled < shape.max_length), shape.head_dim)
        with torch.inference_mode():
            more = [torch.zeros(size, dtype=shape.dtype, device=shape.device) for _ in range(2)]
            k, v = copy.deepcopy(self.theirs).update(*more, layer)
        return k[:, :, :filled], v[:, :, :filled]

    @property
    def nbytes(self) -> int:
        return distinct_bytes(tensors_of(self.theirs))


class Resets(TransformersCache):
    """Through their ``reset()``."""

    def reset(self) -> None:
        super().reset()
        with torch.inference_mode():
            self.theirs.reset()


class Crops(TransformersCache):
    """Through their ``crop(-n)``, which lets go of the last n tokens of every layer."""

    def crop(self, length: int) -> None:
        held = set(self._filled)
        if len(held) > 1:
            raise ValueError(
                f"crop({length}): a step was left with {sorted(held)} tokens in the layers; reset() instead"
            )
        super().crop(length)
        surplus = held.pop() - length
        if surplus:
            with torch.inference_mode():
                self.theirs.crop(-surplus)


class Selects(TransformersCache):
    """Through their ``batch_select_indices(indices)``."""

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = self.rows(rows).clone()
        super().select(index)
        with torch.inference_mode():
            self.theirs.batch_select_indices(index)


class Reorders(TransformersCache):
    """Through their ``reorder_cache(beam_idx)``. Made for beams, it leaves an empty cache as it is: one of another
    number of rows is built anew.
    """

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = self.rows(rows).clone()
        super().select(index)
        if not self.length:
            self.theirs = self._empty()
            return
        with torch.inference_mode():
            self.theirs.reorder_cache(index)


class Forks(TransformersCache):
    """Through ``copy.deepcopy``, by which transformers' documentation reuses a prompt's cache."""

    def fork(self) -> Self:
        twin = super().fork()
        with torch.inference_mode():
            twin.theirs = copy.deepcopy(self.theirs)
        return twin


class Preallocated(Resets, Reorders, Forks):
    """Their static layers, with their room from the start; these neither crop nor select."""

    def _empty(self) -> TransformersStyle:
        shape = self.shape
        theirs: Any = self.build(shape)
        theirs.early_initialization(shape.batch_size, shape.n_head, shape.head_dim, shape.dtype, shape.device)
        return theirs


def _apart(returned: Tensor, *given: Tensor) -> Tensor:
    """What an update returned, copied where it is what was given, which the caller may reuse."""
    shared = {part.untyped_storage().data_ptr() for part in given}
    return returned.clone() if returned.untyped_storage().data_ptr() in shared else returned
