"""A window over any storage that can be written anywhere: the first ``sinks`` tokens stay, the others pass in a ring.

Xiao et al. 2023, arXiv 2309.17453, for the first tokens; here every token keeps the position at which it came, so that
the answer is exactly that of the whole history under a banded mask.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar, Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache, KVShape, Storage


class WindowCache(KVCache):
    """``shape.max_length`` tokens at most, in the slots of a ``storage``: token t at slot t while t < window, then at
    sinks + (t - sinks) mod (window - sinks), over the oldest that is no sink.
    """

    storage: ClassVar[type[Storage]]

    def __init__(self, shape: KVShape) -> None:
        if not 0 <= self.sinks < shape.max_length:
            raise ValueError(
                f"{self.sinks} sinks in a window of {shape.max_length}: at least one place must be left for what is "
                "recent; raise max_length, or name fewer sinks"
            )
        self.window = shape.max_length
        self.store = self.storage(shape)
        self.store.position = self.position  # one count for both

    @property
    def ring(self) -> int:
        """Slots in which tokens pass: all but those of the sinks."""
        return self.shape.max_length - self.sinks

    def attend(self, layer: int, q: Tensor, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        """One new token sees exactly what is held once it is in its slot, in whatever order; more go by their band."""
        if q.size(2) > 1:
            return super().attend(layer, q, k, v)
        self.check(layer, q, k, v)
        if k is not None and v is not None:
            self.append(layer, k, v)
        self.store.attention = self.attention
        return self.store.attend_held(layer, q)

    def append(self, layer: int, k: Tensor, v: Tensor) -> None:
        here = self.claim(layer, k.size(2))
        if here.stop <= self.shape.max_length:
            self.store.write(layer, here, k, v)
        elif k.size(2) == 1:
            slot = self.sinks + (here.start - self.sinks) % self.ring
            self.store.write(layer, slice(slot, slot + 1), k, v)
        else:
            kept = [*range(here.start, min(self.sinks, here.stop))]
            kept += range(max(here.start, self.sinks, here.stop - self.ring), here.stop)
            places = torch.tensor(kept, device=k.device)
            slots = torch.where(places < self.sinks, places, self.sinks + (places - self.sinks) % self.ring)
            new = places - here.start
            self.store.write(layer, slots, k[:, :, new], v[:, :, new])
        self.store.hold(layer, min(here.stop, self.shape.max_length))

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        k, v = self.store.read(layer)  # each (B, H, S, D), slot by slot
        seen = self.filled(layer)
        if seen <= self.shape.max_length:
            return k, v
        oldest = (seen - self.sinks) % self.ring
        passing = self.sinks + (torch.arange(self.ring, device=k.device) + oldest) % self.ring
        order = torch.cat((torch.arange(self.sinks, device=k.device), passing))
        return k[:, :, order], v[:, :, order]

    def round_trip(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.store.round_trip(layer, k, v)

    @property
    def nbytes(self) -> int:
        return self.store.nbytes

    def reset(self) -> None:
        super().reset()
        self.store.reset()

    def crop(self, length: int) -> None:
        super().crop(length)
        self.store.crop(length)

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = self.rows(rows)
        super().select(index)
        self.store.select(index)

    def fork(self) -> Self:
        twin = super().fork()
        twin.store = self.store.fork()
        twin.store.position = twin.position
        return twin

    def state(self) -> dict[str, Tensor]:
        return self.store.state()

    def restore(self, state: Mapping[str, Tensor], length: int) -> None:
        try:
            self.store.restore(state, min(length, self.shape.max_length))
            self.count(length)
        finally:
            self.position.fill_(self.length)

    def advance(self, n: int) -> None:
        super().advance(n)
        self.store.count(min(self.length, self.shape.max_length))


@cache
def over(storage: type[Storage], sinks: int = 0) -> type[WindowCache]:
    """The window over a storage: lossy, and bounded, as that is."""
    declared = ("lossy", "symmetric", "error_bound")
    fields = {name: getattr(storage, name) for name in declared}
    return type(f"Window{storage.__name__}", (WindowCache,), {**fields, "storage": storage, "sinks": sinks})
