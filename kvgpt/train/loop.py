"""The loop: gradients of a few micro-batches, a step, now and then an evaluation and a checkpoint to go on from."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import exp, isfinite

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kvgpt import perplexity, text
from kvgpt.config import GPTConfig
from kvgpt.curve import Row
from kvgpt.engine import Engine
from kvgpt.model import GPT
from kvgpt.parallel import ALONE, Ranks
from kvgpt.plain import duration
from kvgpt.train.batches import Batches
from kvgpt.train.run import Run
from kvgpt.training.schedule import Schedule

EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Trained:
    """A trained model, what its checkpoint says of how it was made, and how the losses fell."""

    model: GPT
    metadata: dict[str, str]
    curve: list[Row]


def train(
    model: GPT,
    corpus: text.Corpus,
    schedule: Schedule,
    run: Run,
    ranks: Ranks = ALONE,
    report: Callable[[str], None] = print,
    tick: Callable[[str], None] = lambda line: None,
) -> Trained:
    """``model`` trained in place, on its device, on ``corpus.train``, going on from ``run``'s last checkpoint where it
    has one. Each of ``ranks`` calls this with a model of its own, and they share out every step.

    ``report`` is given a line at each evaluation, ``tick`` one at each row of the curve. ValueError where the corpus or
    the batch does not serve, FloatingPointError where a loss or gradient is not finite: the checkpoints stay.
    """
    encoding, context = text.tokenizer(model.config.vocab_size), model.config.block_size
    batches = Batches(corpus.tokens("train", encoding), context, schedule, ranks, model.device, corpus.name)
    held_out = torch.from_numpy(corpus.tokens("held_out", encoding)[: schedule.evaluate_tokens].astype(np.int64))
    windows = perplexity.Windows.cut(held_out, context, context)
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(_groups(model, schedule), lr=schedule.learning_rate, betas=schedule.betas, fused=True)
    begun, curve = run.restore(model, optimizer, batches)
    together: GPT | DistributedDataParallel = DistributedDataParallel(model) if ranks.count > 1 else model
    losses: list[float] = []
    started = time.monotonic()
    for step in range(begun, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = sum(ranks.of_each(_backward(together, batches, schedule, model.device))) / ranks.count
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), schedule.clip))
        for what, value in (("loss", loss), ("gradient's norm", norm)):
            if not isfinite(value):
                raise FloatingPointError(f"step {step + 1}: the {what} is {value}; try a lower learning rate{run.kept}")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss)
        done, last = step + 1, step + 1 == schedule.steps
        evaluated = last or done % schedule.evaluate_every == 0
        kept = last or done % schedule.checkpoint_every == 0
        if not (evaluated or kept or done % schedule.log_every == 0):
            continue
        held_out_loss = _evaluate(model, windows) if evaluated and not ranks.rank else None
        mean = sum(losses) / len(losses)
        losses.clear()
        tokens = done * schedule.sequences * context
        curve.append(Row(done, tokens, schedule.rate(step), mean, norm, held_out_loss))
        if kept and not ranks.rank:
            run.keep(model, optimizer, batches, done, curve)
        since = tokens - begun * schedule.sequences * context
        (report if evaluated else tick)(_line(curve[-1], schedule, since, time.monotonic() - started))
    return Trained(model.requires_grad_(False), _metadata(corpus, schedule, curve, context), curve)


def _backward(
    model: GPT | DistributedDataParallel, batches: Batches, schedule: Schedule, device: torch.device
) -> float:
    """The gradients of a step, averaged over its sequences and at the last micro-batch over the processes; the loss of
    this process's part.
    """
    total, micro_batches = torch.zeros((), device=device), batches.step()
    for number, (inputs, targets) in enumerate(micro_batches, start=1):
        more = number < len(micro_batches)
        with model.no_sync() if more and isinstance(model, DistributedDataParallel) else nullcontext():
            with _precision(schedule.dtype, device):
                logits = model(inputs)  # (B, T, V)
            loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten()) / len(micro_batches)
            loss.backward()
        total += loss.detach()
    return float(total)


def _precision(dtype: str, device: torch.device) -> AbstractContextManager[object]:
    return nullcontext() if dtype == "float32" else torch.autocast(device.type, getattr(torch, dtype))


def _evaluate(model: GPT, windows: perplexity.Windows) -> float:
    return perplexity.teacher_forced(Engine(model, _plain(model.config), EVALUATION_BATCH), windows).mean


def _plain(config: GPTConfig) -> str:
    """The variant that recomputes everything, with the sharing that the model is trained with."""
    return "none" if config.sharing is None else f"none+{config.sharing}"


def _groups(model: GPT, schedule: Schedule) -> list[dict[str, list[Tensor] | float]]:
    """Matrices and embeddings decay; biases and layer norms do not."""
    decayed: list[Tensor] = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others: list[Tensor] = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    return [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _line(row: Row, schedule: Schedule, tokens: int, seconds: float) -> str:
    """Where a run stands; the ``tokens`` of the last ``seconds`` say how fast it goes."""
    left = (schedule.steps - row.step) * seconds / max(1, tokens) * row.tokens / row.step
    held_out = (
        ""
        if row.held_out_loss is None
        else (f"held-out loss {row.held_out_loss:.4f}  perplexity {exp(row.held_out_loss):.4f}  ")
    )
    return (
        f"step {row.step}/{schedule.steps}  loss {row.loss:.4f}  {held_out}rate {row.learning_rate:.1e}  "
        f"{tokens / seconds:,.0f} token/s  {duration(left)} left"
    )


def _metadata(corpus: text.Corpus, schedule: Schedule, curve: list[Row], context: int) -> dict[str, str]:
    last = curve[-1]
    held_out = (
        {}
        if last.held_out_loss is None
        else {
            "held_out_loss": f"{last.held_out_loss:.6f}",
            "held_out_perplexity": f"{exp(last.held_out_loss):.6f}",
            "held_out_window": str(context),
        }
    )
    return {
        "seed": str(schedule.seed),
        "steps": str(schedule.steps),
        "tokens": str(last.tokens),
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256,
        **held_out,
    }
