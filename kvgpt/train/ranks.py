"""The processes that train together: one alone, or those that ``torchrun`` started."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(minutes=10)  # for the others at a collective: an evaluation and a checkpoint fit in

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """Which process this is, of how many, and on which device it computes."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the process that evaluates, writes and speaks."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """``model``, or where there are several processes one whose gradients are averaged over them."""
        if self.count == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def silent(self, model: nn.Module) -> AbstractContextManager[object]:
        """While it lasts, gradients add up in each process alone."""
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()

    def wait(self) -> None:
        """Until all processes are here."""
        self.mean(torch.zeros((), device=self.device))

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number (0-d) over the processes."""
        if self.count > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.count
        return value


ALONE = Ranks()


@contextmanager
def ranks(device: str) -> Iterator[Ranks]:
    """The processes of ``torchrun``, met and left; or this one alone where it was started by itself.

    On ``cuda`` each takes the card of its number on the machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(device=torch.device(device))
        return
    if not dist.is_available():
        raise ValueError(f"WORLD_SIZE={count}: this build of torch has no torch.distributed: train with one process")
    where = torch.device(device)
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), count, where)
    finally:
        dist.destroy_process_group()
