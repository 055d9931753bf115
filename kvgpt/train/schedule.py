"""How long, how fast and in what portions a model is trained."""

import math
from dataclasses import dataclass

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Schedule:
    """How a model is trained. The defaults are those of the shipped ``nano``."""

    steps: int = 1600
    batch_size: int = 16  # sequences of one context in a micro-batch, over all processes
    accumulate: int = 1  # micro-batches whose gradients make a step
    learning_rate: float = 3e-3
    warmup: int = 100
    final_fraction: float = 0.02  # of the learning rate, at the end of the cosine
    decay_steps: int | None = None  # where the cosine ends; None is at the last step
    weight_decay: float = 0.3  # of matrices and embeddings
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # the gradient's norm
    attention_gain: float = 3.0  # of the heads' initial output projections: heads that speak up early come to matter
    seed: int = 0
    dtype: str = "float32"  # of products and attention; bfloat16 is mixed precision, with weights in float32
    evaluate_every: int = 200
    evaluate_tokens: int | None = None  # of the held-out text; None is all of it
    checkpoint_every: int = 200
    log_every: int = 10  # steps, of whose losses the curve keeps the mean

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "accumulate", "evaluate_every", "checkpoint_every", "log_every")
        for name in (*counts, "decay_steps", "evaluate_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")
        for name in ("learning_rate", "clip", "attention_gain"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: must be a positive number")
        if self.warmup < 0:
            raise ValueError(f"warmup={self.warmup}: must be 0 steps or more")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r}: known: {', '.join(DTYPES)}")

    def rate(self, step: int) -> float:
        """The learning rate of ``step``, counted from 0."""
        fraction = min(1.0, step / max(1, (self.decay_steps or self.steps) - 1))
        cosine = self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * fraction)) / 2
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup)) * cosine

    @property
    def sequences(self) -> int:
        """Sequences of one context that make a step, over all micro-batches and processes."""
        return self.batch_size * self.accumulate
