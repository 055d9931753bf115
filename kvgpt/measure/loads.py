"""Loads: what a sequence asks of memory at its worst, in stages. Each ends with a ``yield`` of what stays alive.

No logits are copied to a wider dtype, and of a prompt only the last position's are made.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from kvgpt.engine import Engine
from kvgpt.measure.fill import fill, stand_at
from kvgpt.model import GPT
from kvgpt.transients import last_chunk


def serving(build: Callable[[int], Engine], context: int) -> Callable[[int], Iterator[Engine]]:
    """The end of ``context`` tokens a row: a cache built and filled, the prompt's last chunk fed, one token decoded.

    Where a cache keeps nothing, all tokens are fed at once: that is its step.
    """

    def stages(batch: int) -> Iterator[Engine]:
        engine = build(batch)
        yield engine
        if not engine.cache.stateless:
            chunk = last_chunk(context)
            fill(engine.cache, context - 1 - chunk)
            yield engine
            if chunk:
                engine.prefill(_tokens(engine, chunk))
                yield engine
        last_step(engine, context)
        yield engine

    return stages


def before_last_step(engine: Engine, context: int) -> None:
    """Bring ``engine`` to where :func:`last_step` ends at ``context`` tokens."""
    stand_at(engine, 0 if engine.cache.stateless else context - 1)


def last_step(engine: Engine, context: int) -> Tensor:
    """The step that ends at ``context`` tokens: logits (B, V)."""
    return engine.prefill(_tokens(engine, context)) if engine.cache.stateless else engine.decode(_tokens(engine, 1))


def training(model: GPT, context: int) -> Callable[[int], Iterator["Training"]]:
    """A step of training on ``context`` tokens a row, of a copy of ``model`` that has its moments already."""

    def stages(batch: int) -> Iterator[Training]:
        copy = Training(model)
        yield copy
        copy.step(copy.tokens(1, 1))  # the moments come with the first step, whatever its batch
        yield copy
        copy.step(copy.tokens(batch, context))
        yield copy

    return stages


class Training:
    """A copy of ``model``, in its dtype, under AdamW."""

    def __init__(self, model: GPT) -> None:
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self.model = GPT(model.config, seed=None).assign(state, model.weights).requires_grad_(True).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)

    def tokens(self, batch: int, context: int) -> Tensor:
        """Random ids and their targets, (B, T + 1)."""
        ids = torch.randint(
            self.model.config.vocab_size, (batch, context + 1), generator=torch.Generator().manual_seed(0)
        )
        return ids.to(self.model.device)

    def step(self, ids: Tensor) -> None:
        """Forward, cross-entropy, backward and update on ids (B, T + 1)."""
        loss = F.cross_entropy(self.model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _tokens(engine: Engine, n: int) -> Tensor:
    """The last id of the vocabulary, (B, n)."""
    return torch.full((engine.batch_size, n), engine.model.config.vocab_size - 1, device=engine.cache.position.device)
