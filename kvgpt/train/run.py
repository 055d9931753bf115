"""A run's directory: checkpoints to go on from, each written whole, and at the end the model and its curve.

``step-000200`` and its like are complete checkpoints, which load as any other, with the state of the training beside
the weights; the newest stays until a newer one is whole. The directory itself is the trained model's.
"""

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from kvgpt import curve, manifest, strict_json, tensorfile, whole
from kvgpt.curve import Row
from kvgpt.model import GPT
from kvgpt.train.batches import Batches
from kvgpt.training.schedule import Schedule

FORMAT = 1
STATE, TENSORS, CURVE = "training.json", "training.safetensors", "curve.csv"
FREE = ("checkpoint_every",)  # what may change between two parts of a run: it changes no weight
LARGEST = 2**20  # bytes of the state's JSON


@dataclass
class Run:
    """Checkpoints of one training in ``directory``. ``identity`` says what is trained: the schedule, the corpus and
    where the first weights came from. With ``resume`` the newest checkpoint is gone on from, where there is one.
    """

    directory: Path
    schedule: Schedule
    identity: dict[str, str]
    resume: bool = False
    newest: Path | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """ValueError where a run lies here that nobody asked to go on with."""
        there = sorted(self.directory.glob("step-*"), key=lambda path: (len(path.name), path.name))  # by their number
        if there and not self.resume:
            raise ValueError(
                f"{self.directory} has a run that stopped at {there[-1].name}: go on with --resume, name another "
                "--out, or add --overwrite"
            )
        self.newest = there[-1] if there else None

    @property
    def kept(self) -> str:
        """What an error may add: the checkpoint that is still good."""
        return f"; {self.newest} is kept" if self.newest else ""

    def restore(self, model: GPT, optimizer: torch.optim.Optimizer, batches: Batches) -> tuple[int, list[Row]]:
        """Steps done and their curve, with weights, moments and draws as they were then; 0 where a run begins."""
        if self.newest is None:
            return 0, []
        at = self.newest
        manifest.verify(at, [STATE, TENSORS, CURVE])
        kept = strict_json.read(at / STATE, LARGEST, "the state of a training")
        self._check(at, kept)
        before = GPT.from_pretrained(at)
        if before.config != model.config:
            raise ValueError(f"{at} is of {before.config}, this run of {model.config}: name another --out")
        model.load_state_dict(before.state_dict())
        tensors = dict(tensorfile.read(at / TENSORS))
        for name, parameter in model.named_parameters():
            moments = {which: tensors[f"{which}.{name}"].to(parameter.device) for which in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": tensors[f"step.{name}"].to(parameter.device), **moments}
        batches.state = tensors["generator"]
        return kept["step"], curve.read((at / CURVE).read_text())

    def keep(self, model: GPT, optimizer: torch.optim.Optimizer, batches: Batches, step: int, rows: list[Row]) -> None:
        """Write a checkpoint whole, then let those before it go."""
        tensors = {"generator": batches.state}
        for name, parameter in model.named_parameters():
            tensors |= {f"{which}.{name}": value.detach().cpu() for which, value in optimizer.state[parameter].items()}
        state = {"format": FORMAT, "step": step, "schedule": asdict(self.schedule), **self.identity}
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".writing-") as name:
            scratch = Path(name) / "checkpoint"
            model.save_pretrained(scratch, {"step": str(step), **self.identity})
            save_file(tensors, scratch / TENSORS)
            (scratch / STATE).write_text(json.dumps(state, indent=2) + "\n")
            (scratch / CURVE).write_text(curve.written(rows))
            manifest.write(scratch, ["config.json", "model.safetensors", STATE, TENSORS, CURVE])
            for path in scratch.iterdir():
                _sync(path)
            complete = scratch.replace(self.directory / f"step-{step:06}")
        self.newest = complete
        self._clear(but=complete)

    def finish(self, model: GPT, metadata: dict[str, str], rows: list[Row]) -> None:
        """Write the model and its curve into the directory; the checkpoints have served."""
        model.save_pretrained(self.directory, {**self.identity, **metadata})
        whole.write(self.directory / CURVE, curve.written(rows))
        self._clear()

    def _clear(self, but: Path | None = None) -> None:
        """Let checkpoints that have served go, and what a kill left half written."""
        for path in (*self.directory.glob("step-*"), *self.directory.glob(".writing-*")):
            if path != but:
                shutil.rmtree(path)

    def _check(self, at: Path, kept: dict[str, Any]) -> None:
        """ValueError unless the run that ``kept`` is of is this one."""
        if kept.get("format") != FORMAT or type(kept.get("step")) is not int or type(kept.get("schedule")) is not dict:
            raise ValueError(f"{at / STATE}: not the state of a training that this version writes")
        now = json.loads(json.dumps({**asdict(self.schedule), **self.identity}))
        then = {**kept["schedule"], **{name: kept.get(name) for name in self.identity}}
        for name in sorted(now.keys() | then.keys()):
            if name not in FREE and now.get(name) != then.get(name):
                raise ValueError(
                    f"{at} was trained with {name}={then.get(name)!r}, this run asks for {now.get(name)!r}: "
                    "ask for the same, or name another --out"
                )


def _sync(path: Path) -> None:
    """On the disk before its directory gets the name of a whole checkpoint."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
