"""Where a training begins: fresh weights, or those of another model, converted to share keys and values."""

from dataclasses import replace

import torch

from kvgpt.alignment import align
from kvgpt.config import GPTConfig
from kvgpt.model import GPT
from kvgpt.training.schedule import Schedule


def fresh(config: GPTConfig, schedule: Schedule) -> GPT:
    """A model with weights drawn from the schedule's seed."""
    model = GPT(config, seed=schedule.seed)
    with torch.no_grad():
        for block in model.blocks():
            block.attn.c_proj.weight.mul_(schedule.attention_gain)
    return model


def converted(model: GPT, sharing: str | None, kind: str | None, calibration: torch.Tensor) -> GPT:
    """``model``'s weights in a model of its own, to be trained: under ``sharing``, and with ``kind``, ``q`` or ``kv``,
    aligned on ``calibration`` (N, T) beforehand. Once trained, its weights are nobody's alignment: it says none.
    """
    if kind is not None and sharing is None:
        raise ValueError(f"align={kind!r} needs a sharing: it maps followers to their owners' keys")
    if sharing is not None and kind is not None:
        model = align(model, calibration, sharing=sharing, kind=kind)
    elif sharing is not None:
        model = model.share(sharing)
    copy = GPT(replace(model.config, align=None), seed=None)
    state = {name: tensor.to(torch.float32, copy=True) for name, tensor in model.state_dict().items()}
    return copy.assign(state, model.weights)
