"""Training: AdamW with warm-up and a cosine, on one device, from a fixed seed to a checkpoint written whole."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kvgpt import perplexity, text
from kvgpt.config import GPTConfig
from kvgpt.engine import Engine
from kvgpt.model import GPT

EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Schedule:
    """How a model is trained. The defaults are those of the shipped ``nano``."""

    steps: int = 1600
    batch_size: int = 16
    learning_rate: float = 3e-3
    warmup: int = 100
    final_fraction: float = 0.02  # of the learning rate, at the last step
    weight_decay: float = 0.3  # of matrices and embeddings
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # the gradient's norm
    attention_gain: float = 3.0  # of the heads' initial output projections: heads that speak up early come to matter
    seed: int = 0
    evaluate_every: int = 200

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate}: must be a positive number")

    def rate(self, step: int) -> float:
        """The learning rate of ``step``, counted from 0."""
        fraction = min(1.0, step / max(1, self.steps - 1))
        cosine = self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * fraction)) / 2
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * cosine


def train(
    config: GPTConfig, corpus: text.Corpus, schedule: Schedule, report: Callable[[str], None] = print
) -> tuple[GPT, dict[str, str]]:
    """A model trained on ``corpus.train``, and the metadata that says how it was made and how well it came out."""
    encoding = text.tokenizer(config.vocab_size)
    ids = corpus.ids("train", encoding)  # (N,)
    width = config.block_size + 1
    if len(ids) < width:
        raise ValueError(
            f"{corpus.name}: {len(ids)} training tokens are fewer than one context and its target, {width}"
        )
    held_out = perplexity.Windows.cut(corpus.ids("held_out", encoding), config.block_size, config.block_size)
    model = GPT(config, seed=schedule.seed)
    with torch.no_grad():
        for block in model.blocks():
            block.attn.c_proj.weight.mul_(schedule.attention_gain)
    optimizer = torch.optim.AdamW(_groups(model, schedule), lr=schedule.learning_rate, betas=schedule.betas, fused=True)
    generator = torch.Generator().manual_seed(schedule.seed)
    begun = time.monotonic()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        starts = torch.randint(len(ids) - width + 1, (schedule.batch_size, 1), generator=generator)
        batch = ids[starts + torch.arange(width)]  # (B, T + 1)
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        if not loss.isfinite():
            raise FloatingPointError(f"step {step + 1}: the loss is {loss.item()}; try a lower learning rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % schedule.evaluate_every == 0 or step + 1 == schedule.steps:
            score = perplexity.teacher_forced(Engine(model, _plain(config), EVALUATION_BATCH), held_out)
            report(
                f"step {step + 1}/{schedule.steps}  loss {loss.item():.4f}  held-out loss {score.mean:.4f}  "
                f"perplexity {score.perplexity:.4f}  {time.monotonic() - begun:.0f} s"
            )
    return model, {
        "seed": str(schedule.seed),
        "steps": str(schedule.steps),
        "tokens": str(schedule.steps * schedule.batch_size * config.block_size),
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256,
        "held_out_loss": f"{score.mean:.6f}",
        "held_out_perplexity": f"{score.perplexity:.6f}",
        "held_out_window": str(config.block_size),
    }


def _plain(config: GPTConfig) -> str:
    """The variant that recomputes everything, with the sharing that the model is trained with."""
    return "none" if config.sharing is None else f"none+{config.sharing}"


def _groups(model: GPT, schedule: Schedule) -> list[dict[str, list[Tensor] | float]]:
    """Matrices and embeddings decay; biases and layer norms do not."""
    decayed: list[Tensor] = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others: list[Tensor] = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    return [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
