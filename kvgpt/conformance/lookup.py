"""A stand-in for a model, for lossy caches in low precision."""

from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache, KVShape
from kvgpt.config import GPTConfig
from kvgpt.conformance.scene import LONGEST

RoundTrip = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]  # (slot, k, v), each (B, H, T, D)


class Lookup:
    """Each layer's queries, keys and values are looked up by token and by position; the answer is what every layer's
    attention gave, side by side.

    Nothing is computed between the layers and nothing depends on how a prompt is cut, so that what is stored is the
    same to the bit however it is fed.
    """

    def __init__(self, config: GPTConfig, seed: int, dtype: torch.dtype, device: torch.device) -> None:
        self.config, self.weights, self.dtype, self.device = config, f"random:{seed}", dtype, device
        generator = torch.Generator().manual_seed(seed)
        heads = (config.n_head, config.kv_heads, config.kv_heads)
        entries = config.vocab_size + LONGEST
        self._tables = [  # for each layer: q, k, v, each (V + P, H, D)
            [torch.randn(entries, h, config.head_dim, generator=generator).to(device, dtype) for h in heads]
            for _ in range(config.n_layer)
        ]

    def __call__(self, ids: Tensor, cache: KVCache, positions: Tensor, last_only: bool = False) -> Tensor:
        """Ids (B, T), positions (T,) -> (B, T, L H D), or (B, 1, L H D) of the last position."""
        owners, slots = self.config.owners, self.config.slots
        outs = []
        for layer, (q, k, v) in enumerate(self._qkv(ids, positions)):
            own = (k, v) if owners[layer] == layer else (None, None)
            outs.append(cache.attend(slots[layer], q, *own).transpose(1, 2).flatten(2))  # (B, T, H D)
        out = torch.cat(outs, dim=2)
        return out[:, -1:] if last_only else out

    def prepare(self, rows: int) -> Self:
        """Nothing is multiplied."""
        return self

    def kv_shape(self, batch_size: int, max_length: int) -> KVShape:
        """What a cache for this model must hold."""
        c = self.config
        return KVShape(c.n_slot, batch_size, c.kv_heads, c.head_dim, max_length, self.dtype, self.device)

    @property
    def fingerprint(self) -> str:
        return f"{self.config} {self.weights} {self.dtype}"

    def vectors(
        self, ids: Tensor, positions: Tensor, round_trip: RoundTrip | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """q, and the k, v that it must see, of each layer for the whole of ids (B, S) at positions (S,)."""
        qkv = list(self._qkv(ids, positions))
        for layer, (owner, slot) in enumerate(zip(self.config.owners, self.config.slots, strict=True)):
            _, k, v = qkv[owner]
            yield qkv[layer][0], *((k, v) if round_trip is None else round_trip(slot, k, v))

    def _qkv(self, ids: Tensor, positions: Tensor) -> Iterator[list[Tensor]]:
        places = self.config.vocab_size + positions.to(ids.device).long()  # (T,), a fraction as what is below it
        for tables in self._tables:
            yield [(table[ids] + table[places]).transpose(1, 2) for table in tables]  # each (B, H, T, D)
