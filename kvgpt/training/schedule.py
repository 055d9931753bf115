"""A schedule: how many steps, of how many tokens, at which learning rate."""

import math
from dataclasses import dataclass

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Schedule:
    """How a model is trained. The defaults are those of the shipped ``nano``."""

    steps: int = 1600
    batch_size: int = 16  # sequences of one context in a micro-batch
    accumulate: int = 1  # micro-batches of a step, over all processes
    learning_rate: float = 3e-3
    warmup: int = 100  # steps
    final_fraction: float = 0.02  # of the learning rate, where the cosine ends
    decay_steps: int | None = None  # where it ends; None is the last step
    weight_decay: float = 0.3  # of matrices and embeddings
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # the gradient's norm
    attention_gain: float = 3.0  # of the heads' initial output projections: heads that speak up early come to matter
    seed: int = 0
    evaluate_every: int = 200  # steps
    evaluate_tokens: int | None = None  # of the held-out text; None is all of it
    checkpoint_every: int = 200
    log_every: int = 10  # steps, of whose losses the curve keeps the mean
    dtype: str = "float32"  # bfloat16 is mixed precision: weights and optimizer stay in float32

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "evaluate_every", "checkpoint_every", "log_every"):
            _within(name, getattr(self, name), 1)
        for name in ("warmup", "seed", "weight_decay"):
            _within(name, getattr(self, name), 0)
        for name in ("decay_steps", "evaluate_tokens"):
            if getattr(self, name) is not None:
                _within(name, getattr(self, name), 1)
        for name in ("learning_rate", "clip", "attention_gain"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: must be a positive number")
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(f"final_fraction={self.final_fraction}: must be from 0 to 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas}: must be two numbers from 0 to below 1")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r}: known: {', '.join(DTYPES)}")

    def rate(self, step: int) -> float:
        """The learning rate of ``step``, counted from 0: a warm-up, a cosine, and its last value from there on."""
        fraction = min(1.0, step / max(1, (self.decay_steps or self.steps) - 1))
        cosine = self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * fraction)) / 2
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup)) * cosine

    def tokens(self, block_size: int) -> int:
        """Tokens trained on, all steps together."""
        return self.steps * self.sequences * block_size

    @property
    def sequences(self) -> int:
        """Sequences of one context that make a step, over all micro-batches and processes."""
        return self.batch_size * self.accumulate


def _within(name: str, value: float, least: int) -> None:
    if not least <= value < math.inf:
        raise ValueError(f"{name}={value}: must be at least {least}")
