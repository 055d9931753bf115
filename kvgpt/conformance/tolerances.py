"""How far a right answer may be from the oracle: one table, and the reason for each line."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Semantics, in float64. Rounding takes cached logits 1e-14 from uncached ones; the smallest real bug, 1e-3.
SEMANTICS = 1e-9

# Mean negative log-likelihood in nats, autoregressive against teacher-forced, in float32: rounding differs from token
# to token by about 4e-7 and averages out.
MEAN_NLL_FLOAT32 = 1e-6

# A dtype's own error: twice that of plain torch in the same dtype, both against float64, plus one rounding step of the
# answer (Dao-AILab/flash-attention, tests/test_flash_attn.py), and one and a half times in the mean.
ERROR_RATIO, MEAN_ERROR_RATIO = 2.0, 1.5


@dataclass(frozen=True)
class Verdict:
    """An error, what was allowed, and the sentence that says so."""

    error: float
    allowed: float
    what: str

    def __bool__(self) -> bool:
        return self.error <= self.allowed  # False for NaN

    def __str__(self) -> str:
        return f"{self.what} is {self.error:.3g}, allowed {self.allowed:.3g}"


def exact(out: Tensor, truth: Tensor) -> Verdict:
    """float64 against the oracle."""
    return Verdict(_largest(out.double() - truth), SEMANTICS, "largest difference from the oracle")


def by_ratio(out: Tensor, plain: Sequence[Tensor], truth: Tensor) -> list[Verdict]:
    """``out`` and ``plain`` torch in one dtype, ``truth`` in float64.

    ``plain`` is the same computation in more than one order: one order alone may be lucky and round to nothing.
    """
    step = _largest((truth.to(out.dtype).double() + 0.3 - 0.3) - truth) + _spacing(truth, out.dtype)
    error = (out.double() - truth).abs()
    usual = [(one.double() - truth).abs() for one in plain]
    largest, mean = max(float(one.max()) for one in usual), max(float(one.mean()) for one in usual)
    return [
        Verdict(float(error.max()), ERROR_RATIO * largest + 2 * step, "largest error"),
        Verdict(float(error.mean()), MEAN_ERROR_RATIO * mean + 2 * step, "mean error"),
    ]


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def _spacing(truth: Tensor, dtype: torch.dtype) -> float:
    """Half the distance between numbers of ``dtype`` at the size of the answer: one rounding."""
    return float(truth.abs().max()) * torch.finfo(dtype).eps / 2
