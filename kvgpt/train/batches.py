"""Random stretches of a text: one generator for all processes, of whose draws each takes its part."""

import numpy as np
import torch
from torch import Tensor

from kvgpt.parallel import Ranks
from kvgpt.training.schedule import Schedule


class Batches:
    """Sequences and their targets, drawn from the schedule's seed alone: how many processes share them changes no draw.

    Processes share out the micro-batches of a step, or where these are not enough the sequences of each.
    """

    def __init__(
        self, ids: np.ndarray, context: int, schedule: Schedule, ranks: Ranks, device: torch.device, name: str
    ) -> None:
        """``ids`` (N,), in memory or mapped. ValueError where they are fewer than one context and its target, or a step
        cannot be dealt evenly.
        """
        if len(ids) == 0:
            raise ValueError(f"{name}: nothing to train on: the corpus has no training part; name another")
        if len(ids) < context + 1:
            raise ValueError(
                f"{name}: {len(ids)} training tokens are fewer than one context and its target, {context + 1}"
            )
        if schedule.accumulate % ranks.count and schedule.batch_size % ranks.count:
            raise ValueError(
                f"accumulate={schedule.accumulate} micro-batches of batch_size={schedule.batch_size} cannot be dealt "
                f"evenly to {ranks.count} processes: one of the two must be a multiple of {ranks.count}"
            )
        self._ids, self._schedule, self._ranks, self._device = ids, schedule, ranks, device
        self._width = context + 1
        self._generator = torch.Generator().manual_seed(schedule.seed)

    def step(self) -> list[tuple[Tensor, Tensor]]:
        """This process's micro-batches of the next step: inputs and targets, (B, T) int64 each, on the device."""
        every, size = len(self._ids) - self._width + 1, (self._schedule.batch_size, 1)
        starts = [torch.randint(every, size, generator=self._generator) for _ in range(self._schedule.accumulate)]
        if self._schedule.accumulate % self._ranks.count == 0:
            own = starts[self._ranks.rank :: self._ranks.count]
        else:
            own = [part.chunk(self._ranks.count)[self._ranks.rank] for part in starts]
        return [self._read(part.flatten().tolist()) for part in own]

    def _read(self, starts: list[int]) -> tuple[Tensor, Tensor]:
        rows = np.stack([self._ids[start : start + self._width] for start in starts])  # (B, T + 1)
        batch = torch.from_numpy(rows.astype(np.int64)).to(self._device)
        return batch[:, :-1], batch[:, 1:]

    @property
    def state(self) -> Tensor:
        """Where the generator stands, uint8."""
        return self._generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self._generator.set_state(state)
