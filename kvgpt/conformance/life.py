"""I: the state machine. Any order of operations on up to three caches, against lists of tokens."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kvgpt.conformance.accounting import count
from kvgpt.conformance.contract import refused
from kvgpt.conformance.promise import promise
from kvgpt.conformance.scene import Op
from kvgpt.conformance.subject import Stage
from kvgpt.engine import Engine


@dataclass
class Life:
    """A cache that is alive, and the tokens (B, S) that it must remember."""

    engine: Engine
    history: Tensor


@promise(
    "I1", "Whatever is done in whatever order, every cache remembers its own tokens and no others.", "answer", past=True
)
def life(stage: Stage, program: tuple[Op, ...]) -> None:
    lives = [Life(stage.engine(), stage.ids(0))]
    for number, op in enumerate(program):
        one = lives[op.cache]
        match op.name:
            case "feed":
                start, new = one.history.size(1), stage.ids(op.n, number, one.history.size(0))
                one.history = torch.cat([one.history, new], dim=1)
                out = one.engine.prefill(new, every_position=True)
                stage.agree(out, one.history, start)
            case "crop":
                one.engine.crop(op.n)
                one.history = one.history[:, : op.n]
            case "select":
                one.engine.select(op.rows)
                one.history = one.history[list(op.rows)]
            case "reset":
                one.engine.reset()
                one.history = one.history[:, :0]
            case "fork":
                lives.append(Life(one.engine.fork(), one.history))
            case "state":
                one.engine = _through_a_file(stage, one.engine)
            case "refuse":
                _refuse(stage, one)
        for alive in lives:
            stage.counts(alive.engine, alive.history.size(1))
            count(stage.subject, alive.engine.cache)


def _through_a_file(stage: Stage, engine: Engine) -> Engine:
    again = stage.engine(engine.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        engine.save(Path(folder) / "cache.safetensors")
        again.load(Path(folder) / "cache.safetensors")
    return again


def _refuse(stage: Stage, one: Life) -> None:
    """One token more than fits is refused before anything is written."""
    assert one.engine.room is not None, "an engine lost its end"
    too_many = one.engine.room - one.history.size(1) + 1
    ids = stage.ids(too_many, 0, one.history.size(0))
    refused(f"{too_many} tokens more than fit", lambda: one.engine.prefill(ids), ValueError, naming="room")
