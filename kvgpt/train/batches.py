"""Random stretches of a text: one generator for all processes, of whose draws each takes its part."""

import numpy as np
import torch
from torch import Tensor

from kvgpt.train.ranks import Ranks


class Batches:
    """Sequences and their targets, drawn from ``seed`` alone: how many processes share them changes no draw."""

    def __init__(
        self, ids: Tensor | np.ndarray, context: int, batch_size: int, seed: int, ranks: Ranks, name: str
    ) -> None:
        """``ids`` (N,), in memory or mapped. ValueError where they are fewer than one context and its target, or the
        batch cannot be dealt evenly.
        """
        if len(ids) == 0:
            raise ValueError(f"{name}: nothing to train on: the corpus has no training part; name another")
        if len(ids) < context + 1:
            raise ValueError(
                f"{name}: {len(ids)} training tokens are fewer than one context and its target, {context + 1}"
            )
        if batch_size % ranks.count:
            raise ValueError(
                f"batch_size={batch_size} cannot be dealt evenly to {ranks.count} processes: use a multiple of "
                f"{ranks.count}"
            )
        self._ids = ids.numpy() if isinstance(ids, Tensor) else ids
        self._width, self._batch_size, self._ranks = context + 1, batch_size, ranks
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self) -> tuple[Tensor, Tensor]:
        """This process's part of the next micro-batch: inputs and targets, (B, T) int64 each, on the device."""
        starts = torch.randint(len(self._ids) - self._width + 1, (self._batch_size, 1), generator=self._generator)
        own = starts.view(-1).chunk(self._ranks.count)[self._ranks.rank]
        rows = np.stack([self._ids[start : start + self._width] for start in own.tolist()])  # (B, T + 1)
        batch = torch.from_numpy(rows.astype(np.int64)).to(self._ranks.device)
        return batch[:, :-1], batch[:, 1:]

    @property
    def state(self) -> Tensor:
        """Where the generator stands, uint8."""
        return self._generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self._generator.set_state(state)
