"""How far a right answer may be from the oracle: one table, each line with its reason and a bug that must exceed it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """``bug`` names the class under ``tests/meta`` whose error must be beyond ``value``."""

    value: float
    unit: str
    derivation: str
    bug: str


TABLE = {
    "semantics": Tolerance(
        1e-9,
        "logit, in float64",
        "Rounding takes cached logits 1e-14 from uncached ones, the smallest real bug 1e-3: any number between serves.",
        "OffByOneWindow",
    ),
    "error ratio": Tolerance(
        3.0,
        "of plain torch's largest error in the same dtype, in four orders, and twice what + 0.3 - 0.3 changes",
        "Dao-AILab/flash-attention, test_flash_attn_kvcache: another order of the same sums is off by as much again. "
        "In 26,628 comparisons the largest ratio was 2.4.",
        "AttendsInBfloat16",
    ),
    "mean error ratio": Tolerance(
        1.5,
        "of plain torch's mean error at its worst place, and twice what + 0.3 - 0.3 changes",
        "Dao-AILab/flash-attention, hopper/test_flash_attn.py; in the mean, luck evens out: the largest was 1.1.",
        "AttendsInBfloat16",
    ),
    "one rounding": Tolerance(
        0.5,
        "of the distance between two numbers of the dtype, at the size of the number",
        "What is read may be computed in more than one way; each ends in one rounding to the dtype.",
        "RawScale",
    ),
    "bound": Tolerance(
        1e-6,
        "of the bound that the cache states, beyond it, in float32 and lower; 1e-12 in float64",
        "The bound itself is computed in floating point; one rounding to the dtype comes on top.",
        "ZeroRowsDivide",
    ),
    "spread": Tolerance(
        0.6,
        "root mean square of (error / bound)",
        "Rounding evenly gives 1/sqrt(3) = 0.577; 16,384 numbers move it by 0.003.",
        "SevenBits",
    ),
    "mean nll": Tolerance(
        1e-6,
        "nat, autoregressive against teacher-forced, in float32; 1e-10 in float64",
        "A token's loss is off by about 4e-7 in float32, and the signs even out.",
        "ForgetsToResetBetweenWindows",
    ),
}

SEMANTICS = TABLE["semantics"].value
ERROR_RATIO, MEAN_ERROR_RATIO = TABLE["error ratio"].value, TABLE["mean error ratio"].value
MEAN_NLL_FLOAT32, MEAN_NLL_FLOAT64 = TABLE["mean nll"].value, 1e-10


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


def by_ratio(out: Tensor, plain: Sequence[Tensor], truth: Tensor, whole: Tensor | None = None) -> list[Verdict]:
    """``out`` and ``plain`` torch in one dtype, ``truth`` in float64.

    ``plain`` is the same computation in more than one order, and of the ``whole`` of which ``truth`` is a part where
    that is given: few numbers in one order may be lucky and round to nothing.
    """
    step = _largest((truth.to(out.dtype) + 0.3 - 0.3).double() - truth)
    error = (out.double() - truth).abs()
    usual = [(one.double() - (truth if whole is None else whole)).abs() for one in plain]
    largest = max(float(one.max()) for one in usual)
    mean = max(float(one.mean(dim=tuple(range(2, one.dim()))).max()) for one in usual)  # of the worst row and place
    return [
        Verdict(float(error.max()), ERROR_RATIO * largest + 2 * step, "largest error"),
        Verdict(float(error.mean()), MEAN_ERROR_RATIO * mean + 2 * step, "mean error"),
    ]


def copied(out: Tensor, said: Tensor) -> Verdict:
    """The same numbers, up to one rounding of their dtype; NaN where NaN was said."""
    if out.shape != said.shape:
        return Verdict(float("nan"), 0.0, f"shape {tuple(out.shape)} instead of {tuple(said.shape)}: the difference")
    if not torch.equal(out.isnan(), said.isnan()):
        return Verdict(float("nan"), 0.0, "NaN where a number was said, or a number for NaN: the difference")
    beyond = ((out.double() - said.double()).abs() - one_rounding(said.double(), out.dtype)).nan_to_num(0.0)
    return Verdict(max(0.0, float(beyond.max())), 0.0, "largest difference from round_trip() beyond one rounding")


def bounded(back: Tensor, given: Tensor, bound: Tensor) -> Verdict:
    """``back`` (N, D) within ``bound`` (N, 1) of what was given; one rounding to the dtype comes on top."""
    slack = TABLE["bound"].value if back.dtype != torch.float64 else 1e-12
    error = (back.double() - given.double()).abs()
    allowed = bound * (1 + slack) + one_rounding(back.double(), back.dtype)
    row = int((error - allowed).amax(dim=1).argmax()) if error.isfinite().all() else 0
    column = int((error - allowed)[row].argmax())
    within = bool((error <= allowed).all())  # False for NaN
    return Verdict(
        float(error[row, column]) if within or error.isfinite().all() else float("nan"),
        float(allowed[row, column]),
        "largest error against its bound",
    )


def evenly(errors: Tensor) -> Verdict:
    """Errors as parts of their bound."""
    return Verdict(float(errors.square().mean().sqrt()), TABLE["spread"].value, "root mean square of error / bound")


def one_rounding(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The most that rounding float64 ``x`` to ``dtype`` changes each number by."""
    return x.abs() * torch.finfo(dtype).eps * TABLE["one rounding"].value


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())
