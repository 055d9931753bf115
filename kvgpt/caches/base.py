"""KVCache: what a cache promises. A cache of one's own needs ``append``, ``read`` and ``nbytes``.

A step: the model calls ``attend`` once a layer, then the engine calls ``advance`` with the step's number of tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from kvgpt.attention import Attention, banded_mask, sdpa


class Unsupported(RuntimeError):
    """An operation that a cache does not offer. It raises; it never passes silently."""


@dataclass(frozen=True)
class KVShape:
    """What a cache is built for. ``n_layer`` counts the layers that own keys and values, ``n_head`` their heads.

    ``dtype`` and ``device`` are those of the vectors that come in and of those that are read back. ValueError where a
    number is less than 1.
    """

    n_layer: int
    batch_size: int
    n_head: int
    head_dim: int
    max_length: int
    dtype: torch.dtype
    device: torch.device

    def __post_init__(self) -> None:
        for name in ("n_layer", "batch_size", "n_head", "head_dim", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: a cache needs at least 1")


class KVCache(ABC):
    """Keys and values of past tokens for every layer, and the attention over them.

    ``append``, ``read`` and ``nbytes`` are a subclass's own. ``reset``, ``crop``, ``select``, ``fork`` and ``state``
    raise :class:`Unsupported` unless overridden; an override calls ``super()`` first, which checks the arguments and
    keeps ``length`` true. ``length`` is the number of tokens seen, ``position`` the same number on the device.

    A windowed cache sets ``window`` and ``sinks``: it keeps the first ``sinks`` tokens and the last
    ``window - sinks`` others, in the order in which they came, for any number of tokens seen.
    """

    lossy: ClassVar[bool] = False  # what is read back differs from what was stored: ``round_trip`` says how
    symmetric: ClassVar[bool] = False  # lossy, and its error is the same for -x and scales with x by powers of 2
    error_bound: ClassVar[float | None] = None  # of a number that is read back, relative to the largest of its vector
    stateless: ClassVar[bool] = False  # nothing survives a step: the engine feeds the whole history each time
    window: int | None = None  # None: everything is kept
    sinks: int = 0

    shape: KVShape
    length: int
    position: Tensor
    attention: Attention
    _filled: list[int]
    _seen: tuple[int, Tensor, Tensor] | None

    def __new__(cls, shape: KVShape, *args: object, **kwargs: object) -> Self:
        # Here and not in __init__, so that a subclass that forgets super().__init__() still keeps count.
        self = super().__new__(cls)
        self.shape = shape
        self.length = 0
        self.position = torch.zeros((), dtype=torch.int64, device=shape.device)
        self.attention = sdpa
        self._filled = [0] * shape.n_layer
        self._seen = None
        return self

    def __init__(self, shape: KVShape) -> None:  # noqa: B027 - a cache may need no room of its own
        """Room for ``shape.max_length`` tokens; see :class:`KVShape`."""

    @abstractmethod
    def append(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Keep this step's k, v (B, H, T, D) for ``layer``: a copy, since the caller may reuse them."""

    @abstractmethod
    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """k, v (B, H, S, D): the ``length`` tokens before this step, and the step's own once they are appended.

        Of a windowed cache, those of them that it keeps.
        """

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes held: scales and packing counted, shared storage once."""

    @property
    def graphable(self) -> bool:
        """Whether addresses are stable, and a decode step reads ``position``, never ``length``; a class whose steps
        always do says ``graphable = True``.
        """
        return False

    def attend(self, layer: int, q: Tensor, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        """Append k, v (B, H, T, D) where given, then attend with q (B, H or a multiple, T, D). Returns q's shape and
        dtype. ValueError where they do not fit, see :meth:`~kvgpt.KVCache.check`.

        A layer that follows another's keys and values passes k = v = None and its owner's slot.
        """
        self.check(layer, q, k, v)
        if self.window is not None:
            return self._attend_window(self.window, layer, q, k, v)
        if k is not None and v is not None:
            self.claim(layer, k.size(2))
            self.append(layer, k, v)
        return self.attend_held(layer, q)

    def attend_held(self, layer: int, q: Tensor) -> Tensor:
        """Attend with q (B, H or a multiple, T, D), the last T of all that ``layer`` holds. A kernel may replace it."""
        return self.attention(q, *self.read(layer), None)

    def _attend_window(self, window: int, layer: int, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        """Attend before what this step pushes out is gone, and keep it until a follower has seen it too."""
        if k is not None and v is not None:
            own, kept = self.round_trip(layer, k, v), self.read(layer) if self.length else (k[:, :, :0], v[:, :, :0])
            keys, values = (torch.cat(pair, dim=2) for pair in zip(kept, own, strict=True))  # each (B, H, S, D)
            self._seen = layer, keys, values
            self.claim(layer, k.size(2))
            self.append(layer, k, v)
        if self._seen is None or self._seen[0] != layer:
            raise ValueError(f"layer {layer} can be followed only before the next layer appends")
        _, keys, values = self._seen
        places = torch.arange(self.length + q.size(2), device=q.device)
        recent = max(self.length - window + self.sinks, min(self.sinks, self.length))
        held = torch.cat((places[: min(self.sinks, self.length)], places[recent:]))  # (S,)
        return self.attention(q, keys, values, banded_mask(places[self.length :], held, window, self.sinks))

    def round_trip(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What stored k, v (B, H, T, D) read back as, token by token: themselves, unless ``lossy``."""
        if self.lossy:
            raise Unsupported(f"{type(self).__name__} is lossy and does not say what its vectors read back as")
        return k, v

    def advance(self, n: int) -> None:
        """End a step of ``n`` tokens: the step's last operation on the device moves ``position``."""
        appended = [filled - self.length for filled in self._filled]
        if n < 1 or (any(appended) and set(appended) != {n}):  # all 0: the cache keeps count of its own
            raise ValueError(f"advance({n}): the layers appended {appended} tokens in this step")
        self.count(self.length + n)
        self.position.add_(n)

    def check(self, layer: int, q: Tensor, k: Tensor | None, v: Tensor | None) -> None:
        """Refuse what does not fit, before anything is written. A kernel that replaces ``attend`` calls this first."""
        shape = self.shape
        if not 0 <= layer < shape.n_layer:
            raise ValueError(f"layer {layer}: this cache holds layers 0 to {shape.n_layer - 1}")
        if (k is None) != (v is None):
            raise ValueError("k and v come together: one of them is None")
        whole_groups = q.dim() == 4 and q.size(1) > 0 and q.size(1) % shape.n_head == 0
        if not whole_groups or (q.size(0), q.size(3)) != (shape.batch_size, shape.head_dim) or not q.size(2):
            raise ValueError(
                f"q has shape {tuple(q.shape)}: "
                f"expected ({shape.batch_size}, a multiple of {shape.n_head}, T, {shape.head_dim})"
            )
        tokens = self._filled[layer] - self.length
        if k is None or v is None:
            if tokens != q.size(2):
                raise ValueError(f"layer {layer} has appended {tokens} tokens in this step, the query has {q.size(2)}")
            return
        if tokens:
            raise ValueError(
                f"layer {layer} already appended {tokens} tokens: the step before was not ended by advance(); "
                "reset() or crop() first"
            )
        expected = (shape.batch_size, shape.n_head, q.size(2), shape.head_dim)
        for name, tensor in (("k", k), ("v", v)):
            if tuple(tensor.shape) != expected:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}: expected {expected}")
            if tensor.dtype != shape.dtype or tensor.device != self.position.device:
                raise ValueError(
                    f"{name} is {tensor.dtype} on {tensor.device}: "
                    f"this cache holds {shape.dtype} on {self.position.device}"
                )
        if self.window is None and self.length + q.size(2) > shape.max_length:
            raise ValueError(
                f"{self.length} tokens held and {q.size(2)} more: this cache has room for max_length={shape.max_length}"
            )

    def claim(self, layer: int, n: int) -> slice:
        """Note that ``layer`` holds this step's ``n`` tokens, and say at which places of the sequence."""
        self._filled[layer] = self.length + n
        return slice(self.length, self.length + n)

    def filled(self, layer: int) -> int:
        """S: how many tokens ``read(layer)`` returns now, where everything is kept."""
        return self._filled[layer]

    def reset(self) -> None:
        """Forget everything; what was built for reuse is kept."""
        self._offered("reset")
        self._rewind(0)

    def crop(self, length: int) -> None:
        """Keep the first ``length`` tokens. ValueError where a window has let go of some of them."""
        self._offered("crop")
        if not 0 <= length <= self.length:
            raise ValueError(f"crop({length}): this cache has seen {self.length} tokens")
        if self.window is not None and self.length > self.window:
            raise ValueError(
                f"crop({length}): a window of {self.window} has let go of some of {self.length} tokens; reset() instead"
            )
        self._rewind(length)

    def select(self, rows: Tensor | Sequence[int]) -> None:
        """Keep these rows of the batch, in this order; repeats and another count are allowed.

        ValueError where one is no row.
        """
        self._offered("select")
        self.shape = replace(self.shape, batch_size=len(self.rows(rows)))

    def fork(self) -> Self:
        """A cache with the same contents that shares no memory with this one."""
        self._offered("fork")
        twin = type(self)(self.shape)
        twin.attention = self.attention
        twin._rewind(self.length)
        return twin

    def state(self) -> dict[str, Tensor]:
        """What is held, by name: tensors, or views of them into which :meth:`restore` may write."""
        self._offered("state")
        return {}

    def restore(self, state: Mapping[str, Tensor], length: int) -> None:
        """Hold again what :meth:`state` gave when ``length`` tokens had been seen. ValueError, and nothing is changed,
        where it does not fit this cache's shape.
        """
        self._offered("state")
        if length < 0 or (self.window is None and length > self.shape.max_length):
            raise ValueError(f"{length} tokens to restore: this cache has room for max_length={self.shape.max_length}")
        before = self.length
        self._rewind(length)
        room = self.state()
        try:
            fits(state, room)
        except ValueError:
            self._rewind(before)
            raise
        for name, tensor in room.items():
            tensor.copy_(state[name])

    @classmethod
    def offers(cls, operation: str) -> bool:
        """Whether this class has an ``operation`` of its own: reset, crop, select, fork, state or round_trip."""
        return getattr(cls, operation) is not getattr(KVCache, operation)

    def rows(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Row numbers as an int64 tensor on this cache's device, or ValueError."""
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.position.device)
        outside = [row for row in index.flatten().tolist() if not 0 <= row < self.shape.batch_size]
        if index.dim() != 1 or not len(index) or outside:
            raise ValueError(f"rows {index.tolist()}: expected row numbers from 0 to {self.shape.batch_size - 1}")
        return index

    def count(self, length: int) -> None:
        """Say how many tokens were seen, in every layer: on the host; ``position`` is the device's own."""
        self.length = length
        self._filled = [length] * self.shape.n_layer
        self._seen = None

    def _rewind(self, length: int) -> None:
        self.count(length)
        self.position.fill_(length)

    def _offered(self, operation: str) -> None:
        if not self.offers(operation):
            raise Unsupported(f"{type(self).__name__} does not support {operation}()")


class Storage(KVCache):
    """A cache whose slots can be written in any order: what a window is laid over."""

    @abstractmethod
    def write(self, layer: int, where: slice | Tensor, k: Tensor, v: Tensor) -> None:
        """Put k, v (B, H, n, D) into n slots: a slice, or their numbers (n,) int64."""

    def append(self, layer: int, k: Tensor, v: Tensor) -> None:
        self.write(layer, self.claim(layer, k.size(2)), k, v)

    def hold(self, layer: int, filled: int) -> None:
        """Say that the first ``filled`` slots of ``layer`` are written."""
        self._filled[layer] = filled


def fits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """ValueError unless ``state`` has the names, shapes and dtypes of ``expected``."""
    if state.keys() != expected.keys():
        odd = sorted(state.keys() ^ expected.keys())
        raise ValueError(f"tensor {odd[0]!r} and {len(odd) - 1} more are on one side only: saved from another cache")
    for name, tensor in expected.items():
        found = state[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise ValueError(
                f"tensor {name!r} is {found.dtype} of shape {tuple(found.shape)}: "
                f"this cache holds {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
