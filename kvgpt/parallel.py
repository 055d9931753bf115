"""Tensor parallelism: one model over several processes, each with its share of the heads and of the hidden layers.

A built model is edited from outside. The query, key and value rows of ``c_attn`` are split by heads, ``c_fc`` by rows,
both ``c_proj`` by columns, and what these make is summed over the ranks: two all-reduces a layer, of (B, T, C). Caches
hold a rank's own heads and know nothing of the others. Shoeybi et al. 2019, "Megatron-LM", arXiv 1909.08053.

Every rank keeps the whole token embedding, looks tokens up in it without asking anybody, and multiplies with its share
of the rows for the logits, which one all-gather puts together: for each number that this sends a row of the batch, a
head that is not split reads C from memory (docs/scale.md). It also makes the logits of all ranks the same bits, so that
all of them pick the same token, in whatever order their processors add.
"""

import os
import zlib
from collections.abc import Sequence
from datetime import timedelta
from math import ceil, gcd
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from kvgpt.config import GPTConfig
from kvgpt.model import GPT, Embedding, Linear
from kvgpt.packing import linear, ready

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
SECONDS = 45.0  # that a rank waits for the others, in a collective or when they start


class Lost(ConnectionError):
    """Another rank has ended, or did not come to a collective in time."""


class Ranks:
    """The processes that share a model's work, as one of them sees them: here one that is alone."""

    rank, count = 0, 1
    neighbours = slice(0, 1)  # the ranks on this machine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.leave()

    def part(self, model: GPT) -> GPT:
        """What this rank computes of ``model``; ValueError where its heads cannot be shared out."""
        return model

    def same(self, x: Tensor) -> Tensor:
        """``x`` as rank 0 has it, on every rank; all give one of the same shape and dtype."""
        return x

    def agreed(self, number: int) -> int:
        """The first rank's number: what one of them decides by its own clock, all must do."""
        return int(self.same(torch.tensor(number)))

    def of_each(self, number: float) -> list[float]:
        """The number that each rank has, by rank."""
        return [number]

    def wait(self) -> None:
        """Until all ranks are here."""

    def leave(self) -> None:
        """Say goodbye to the others, who are not waited for."""


ALONE = Ranks()


class Joined(Ranks):
    """A process group of torch's, by the variables that ``torchrun`` sets: NCCL between GPUs, else gloo.

    No collective is waited for longer than ``seconds``: then, and where another rank has ended, :class:`Lost` is raised
    and every later call raises too.
    """

    def __init__(self, device: str, seconds: float = SECONDS) -> None:
        self.rank, self.count = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
        self.seconds, self._lost = seconds, False
        local = int(os.environ.get("LOCAL_RANK", self.rank))
        if device == "cuda":
            if local >= torch.cuda.device_count():
                raise ValueError(
                    f"rank {self.rank} is number {local} on this machine, which has {torch.cuda.device_count()} GPUs: "
                    "start a rank a GPU, torchrun --nproc-per-node"
                )
            torch.cuda.set_device(local)
        self.device = torch.device(device, local) if device == "cuda" else torch.device(device)
        size = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        self.neighbours = slice(self.rank - self.rank % size, self.rank - self.rank % size + size)
        try:
            dist.init_process_group(BACKENDS[device], timeout=timedelta(seconds=seconds))
        except RuntimeError as error:
            raise Lost(f"{self}: not all of them were there within {seconds:g} s ({_first_line(error)})") from error
        self._check_alike()

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.count}"

    def part(self, model: GPT) -> GPT:
        return model if isinstance(model, Part) else split(model, self)

    def same(self, x: Tensor) -> Tensor:
        there = x.to(self.device)
        self._do(dist.broadcast, there, src=0)
        return there.to(x.device)

    def sum(self, x: Tensor) -> Tensor:
        """``x`` with that of all ranks added, in place."""
        self._do(dist.all_reduce, x)
        return x

    def gather(self, x: Tensor) -> Tensor:
        """``x`` (...) of every rank -> (count, ...)."""
        every = x.new_empty(self.count, *x.shape)
        self._do(dist.all_gather, list(every), x.contiguous())
        return every

    def of_each(self, number: float) -> list[float]:
        return list(self.gather(torch.tensor([number], dtype=torch.float64, device=self.device)).flatten().tolist())

    def wait(self) -> None:
        self._do(dist.all_reduce, torch.zeros(1, device=self.device))
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def leave(self) -> None:
        if not self._lost and dist.is_initialized():  # else it might wait for those that are gone
            dist.destroy_process_group()

    def _do(self, collective: Any, *arguments: Any, **options: Any) -> None:
        try:
            collective(*arguments, **options)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._lost = True
            late = "timed out" in str(error).lower() or "timeout" in str(error).lower()
            why = f"one of them did not come within {self.seconds:g} s" if late else "one of them has ended"
            raise Lost(f"{self} lost the others: {why} ({_first_line(error)})") from error

    def _check_alike(self) -> None:
        """Ranks of different kinds would round differently, and each would be timed by the slowest."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
        here = f"torch {torch.__version__} on {name}"
        if len(set(self.of_each(zlib.crc32(here.encode())))) > 1:
            raise ValueError(f"{self} has {here}, others have not: start all with one torch, on devices of one kind")


def join(device: str = "cpu", seconds: float = SECONDS) -> Ranks:
    """The ranks that ``torchrun`` started with this process on ``device``, ``cpu`` or ``cuda``; alone where it did not.

    :class:`Lost` where not all of them come within ``seconds``, ValueError where they are not alike.
    """
    started = {"RANK", "WORLD_SIZE"} <= os.environ.keys() and int(os.environ["WORLD_SIZE"]) > 1
    return Joined(device, seconds) if started else ALONE


def check(config: GPTConfig, count: int) -> None:
    """ValueError, with the numbers of ranks that work, where a model of this config cannot be split over ``count``."""
    most = gcd(config.kv_heads, config.inner)
    if most % count:
        sizes = ", ".join(str(size) for size in range(1, most + 1) if most % size == 0)
        raise ValueError(
            f"{count} ranks cannot share out {config.n_head} heads, {config.kv_heads} heads of keys and values and "
            f"hidden layers of {config.inner} evenly: start as many as divide all of them ({sizes})"
        )


def split(model: GPT, ranks: Joined) -> "Part":
    """The part of ``model`` that this rank computes, on its device; ``model`` is unchanged. What is to be shared or
    aligned is so before: a part cannot be. ValueError where the heads cannot be shared out.
    """
    check(model.config, ranks.count)
    if model.coded:
        raise ValueError(f"the weights {model.weights!r} are int8 codes, which are not split over ranks: use others")
    part = Part(model.config, ranks)
    widths = [block.attn.widths for block in model.blocks()]
    state = {name: _share(name, tensor, widths, ranks) for name, tensor in model.state_dict().items()}
    return part.assign({name: tensor.to(ranks.device) for name, tensor in state.items()}, model.weights)


class RowParallel(Linear):
    """A Linear of which every rank has some of the inputs: what they make of them is summed."""

    def __init__(self, inputs: int, outputs: int, ranks: Joined) -> None:
        super().__init__(inputs, outputs)
        self.ranks = ranks

    def forward(self, x: Tensor) -> Tensor:
        """X (..., inputs / count) -> (..., outputs), the same on every rank."""
        return self.ranks.sum(super().forward(x))


class SplitHead(Embedding):
    """The whole embedding on every rank; of the logits each makes those of its own rows, and all have all of them."""

    def __init__(self, vocab_size: int, n_embd: int, ranks: Joined) -> None:
        super().__init__(vocab_size, n_embd)
        self.ranks, self.rows = ranks, ceil(vocab_size / ranks.count)

    @property
    def own(self) -> Tensor:
        """This rank's rows, (n, C): the last ranks may have fewer."""
        return self.weight[self.ranks.rank * self.rows :][: self.rows]

    def project(self, x: Tensor) -> Tensor:
        """X (B, T, C) -> logits (B, T, V), the same bits on every rank."""
        own = linear(x, self.own, None, self.ready)  # (B, T, n)
        every = self.ranks.gather(F.pad(own, (0, self.rows - own.size(2))))  # (N, B, T, rows)
        return every.permute(1, 2, 0, 3).flatten(2)[:, :, : self.num_embeddings]

    def prepare(self, rows: int) -> None:
        """Be ready for logits of this many rows of a batch."""
        self.ready = ready(self.own, rows)


class Part(GPT):
    """One rank's part of a model. ``config`` is the whole model's; ``kv_shape`` and ``nbytes`` are the part's."""

    def __init__(self, config: GPTConfig, ranks: Joined) -> None:
        """On the meta device, to be assigned."""
        super().__init__(config, seed=None)
        self.ranks, count, C = ranks, ranks.count, config.n_embd
        with torch.device("meta"):
            self.wte = SplitHead(config.vocab_size, C, ranks)
            for block in self.blocks():
                attn, mlp = block.attn, block.mlp
                attn.widths = [width // count for width in attn.widths]
                attn.c_attn = Linear(C, sum(attn.widths))
                attn.c_proj = RowParallel(attn.widths[0], C, ranks)
                mlp.c_fc = Linear(C, config.inner // count)
                mlp.c_proj = RowParallel(config.inner // count, C, ranks)

    def share(self, sharing: str | None) -> GPT:
        """Itself, where it has this sharing; ValueError for any other."""
        if sharing == self.config.sharing:
            return self
        raise ValueError(f"this is the part of one rank: share or align the whole model to {sharing!r}, then split it")

    def save_pretrained(self, directory: str | Path, metadata: Any = None) -> None:
        """ValueError: one rank's part is no checkpoint."""
        raise ValueError(f"{directory}: not written: this is the part of one rank; save the whole model")


def _share(name: str, tensor: Tensor, widths: Sequence[Sequence[int]], ranks: Joined) -> Tensor:
    """Of a parameter of the whole model, what this rank has of it: a copy, so that nothing keeps the whole alive."""
    if name.endswith("c_proj.weight"):
        return tensor.chunk(ranks.count, dim=1)[ranks.rank].clone(memory_format=torch.contiguous_format)
    if name.endswith("c_proj.bias"):  # added once
        return tensor if ranks.rank == 0 else torch.zeros_like(tensor)
    if ".c_attn." in name:
        rows = tensor.split(list(widths[int(name.split(".")[1])]))  # queries, keys, values
        return torch.cat([part.chunk(ranks.count)[ranks.rank] for part in rows])
    if ".c_fc." in name:
        return tensor.chunk(ranks.count)[ranks.rank].clone()
    return tensor


def _first_line(error: BaseException) -> str:
    """What a library says, without where in it."""
    said = str(error).partition("\n")[0].partition("] ")
    return (said[2] or said[0]).partition(". ")[0]
