"""Agreement: how far one engine's next-token distributions are from another's on the same tokens.

Two engines are fed the same ids in lockstep, and a stretch of logits is let go once both have been compared: of a large
vocabulary nobody could keep them all.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from kvgpt.engine import Engine
from kvgpt.perplexity import Mode, Windows, clustered_error
from kvgpt.statistics import NORMAL_QUANTILE

AT_ONCE = 2**22  # numbers of a distribution that are compared in float64 at a time
ROUNDING = 1e-6  # nats by which a divergence may come out below 0


@dataclass(frozen=True)
class Agreement:
    """Of each scored token in the text's order: ``divergence`` (N,) float64, in nats, KL(reference || this); ``same``
    (N,) bool, whether the likeliest token is the reference's; ``window`` (N,), which window.
    """

    divergence: Tensor
    same: Tensor
    window: Tensor

    @property
    def kl_divergence(self) -> float:
        return float(self.divergence.mean())

    @property
    def stderr(self) -> float | None:
        """Standard error of ``kl_divergence``, windows taken as independent; None for a single window."""
        return clustered_error(self.divergence, self.window)

    @property
    def top1(self) -> float:
        """The share of tokens at which both would pick the same."""
        return float(self.same.double().mean())

    @property
    def top1_interval(self) -> tuple[float, float] | None:
        """Wilson's 95% interval of ``top1``, for as many independent tokens as its clustered error leaves of N.

        None for a single window.
        """
        share, error, n = self.top1, clustered_error(self.same.double(), self.window), float(len(self.same))
        if error is None:
            return None
        if error:
            n = min(n, share * (1 - share) / error**2)
        extra = NORMAL_QUANTILE**2 / n
        half = sqrt(extra * share * (1 - share) + extra**2 / 4)
        low, high = ((share + extra / 2 + way * half) / (1 + extra) for way in (-1, 1))
        return min(share, max(0.0, low)), max(share, min(1.0, high))  # at 0 and 1 rounding would leave it outside


def agreement(engine: Engine, reference: Engine, windows: Windows, mode: Mode) -> Agreement:
    """Compare two engines over every scored token of ``windows``. ValueError where they cannot go in lockstep."""
    sizes = [(one.batch_size, one.model.config.vocab_size) for one in (engine, reference)]
    if sizes[0] != sizes[1] or engine.cache is reference.cache:
        raise ValueError(
            f"batch size and vocabulary are {sizes[0]} and {sizes[1]}: two engines of the same go in lockstep, each "
            "with a cache of its own"
        )
    divergence, same = torch.zeros(windows.ids.shape, dtype=torch.float64), torch.zeros_like(windows.scored)  # (N, W)
    for ours, theirs in zip(mode(engine, windows), mode(reference, windows), strict=True):
        place = ours.rows, ours.predicted
        logits, right = (stretch.logits[: len(ours.rows)] for stretch in (ours, theirs))  # each (b, n, V)
        divergence[place] = kl_divergence(right.flatten(0, 1), logits.flatten(0, 1)).view(logits.shape[:2]).cpu()
        same[place] = (logits.argmax(dim=2) == right.argmax(dim=2)).cpu()
    scored = windows.scored
    return Agreement(divergence[scored], same[scored], windows.numbers)


def kl_divergence(reference: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(reference) || softmax(other)) in nats: logits (N, V) each -> (N,) float64.

    Exactly 0 for equal logits. ValueError for logits that are not finite, whose divergence is no number.
    """
    found, rows = [], max(1, AT_ONCE // reference.size(1))
    for pair in zip(reference.split(rows), other.split(rows), strict=True):
        log_p, log_q = (logits.double().log_softmax(dim=1) for logits in pair)
        found.append((log_p.exp() * (log_p - log_q)).sum(dim=1))
    divergence = torch.cat(found)
    possible = divergence > -ROUNDING  # false for NaN, too
    if not possible.all():
        worst = float(divergence[~possible][0])
        raise ValueError(
            f"a divergence of {worst} nats: logits are not finite; an engine's check_finite=True says where"
        )
    return divergence
