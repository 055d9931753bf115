"""Perplexity, teacher-forced and autoregressive, token by token, with standard errors and paired changes.

The definition is the one of Hugging Face's "Perplexity of fixed-length models": the text is cut into windows that start
``stride`` tokens apart; a window scores the tokens that no window before it scored, all but its own first, which has no
context. Both modes score the same tokens; they differ in how the window passes through the cache: at once, or one token
a step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from kvgpt.engine import Engine


@dataclass(frozen=True)
class Score:
    """Negative log-likelihoods in nats. ``nll`` (N,) float64 in the text's order; ``window`` (N,) says which window.

    ``served`` counts the scored tokens that were predicted from one token fed to a cache that held all before it.
    """

    nll: Tensor
    window: Tensor
    served: int

    @property
    def mean(self) -> float:
        return float(self.nll.mean())

    @property
    def perplexity(self) -> float:
        return exp(self.mean)

    @property
    def stderr(self) -> float | None:
        """Standard error of the mean, windows taken as independent; None for a single window."""
        return _clustered_error(self.nll, self.window)

    def change(self, reference: "Score") -> tuple[float, float | None]:
        """Mean of nll less the reference's on the same tokens, and its standard error."""
        if not torch.equal(self.window, reference.window):
            raise ValueError(f"{len(self.nll)} and {len(reference.nll)} scored tokens are not the same tokens")
        difference = self.nll - reference.nll
        return float(difference.mean()), _clustered_error(difference, self.window)


@dataclass(frozen=True)
class Windows:
    """A text cut for scoring: ``ids`` (N, W), and ``scored`` (N, W), true at the tokens that count."""

    ids: Tensor
    scored: Tensor

    @classmethod
    def cut(cls, ids: Tensor, window: int, stride: int, max_tokens: int | None = None) -> "Windows":
        """Windows over the first ``max_tokens`` of ids (S,); the last may be short and is padded, unscored."""
        if window < 2 or not 1 <= stride <= window:
            raise ValueError(
                f"window={window}, stride={stride}: a window has 2 tokens or more, a stride 1 to a window's"
            )
        ids = ids[:max_tokens]
        if len(ids) < window:
            raise ValueError(f"a text of {len(ids)} tokens is shorter than one context of {window}")
        starts = torch.arange(0, len(ids) - max(window - stride, 1), stride).unsqueeze(1)  # (N, 1)
        places = starts + torch.arange(window)  # (N, W)
        seen = torch.where(starts == 0, 1, torch.maximum(starts + window - stride, starts + 1))
        scored = (places >= seen) & (places < len(ids))
        return cls(ids[places.clamp(max=len(ids) - 1)], scored)

    @property
    def scored_tokens(self) -> int:
        return int(self.scored.sum())


# A stretch of a batch of windows: where it starts, its logits (B, n, V), whether the cache served it token by token.
Stretch = tuple[int, Tensor, bool]


def teacher_forced(engine: Engine, windows: Windows) -> Score:
    """Each window through the cache at once."""

    def pass_through(ids: Tensor, first: int) -> Iterator[Stretch]:
        yield 0, engine.prefill(ids[:, :-1], every_position=True), False

    return _score(engine, windows, pass_through)


def autoregressive(engine: Engine, windows: Windows) -> Score:
    """Each window through the cache one token a step, after the context that no window of its batch scores."""

    def pass_through(ids: Tensor, first: int) -> Iterator[Stretch]:
        if first > 1:
            engine.prefill(ids[:, : first - 1])
        for t in range(first - 1, ids.size(1) - 1):
            logits = engine.decode(ids[:, t : t + 1]).unsqueeze(1)  # (B, 1, V)
            yield t, logits, engine.cache.length == t + 1 and not engine.cache.stateless

    return _score(engine, windows, pass_through)


def _score(engine: Engine, windows: Windows, pass_through: Callable[[Tensor, int], Iterator[Stretch]]) -> Score:
    nll, window, served = [], [], 0
    numbers = torch.arange(len(windows.ids)).unsqueeze(1).expand_as(windows.ids)  # (N, W)
    for rows in torch.arange(len(windows.ids)).split(engine.batch_size):
        ids, scored = windows.ids[rows], windows.scored[rows]  # (b, W), b <= B
        fed = F.pad(ids, (0, 0, 0, engine.batch_size - len(rows))).to(engine.cache.position.device)  # (B, W)
        batch = torch.zeros(ids.size(0), ids.size(1), dtype=torch.float64)
        engine.reset()
        for t, logits, by_cache in pass_through(fed, int(scored.int().argmax(dim=1).min())):
            n = logits.size(1)
            exact = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, 1)  # (B n, V)
            losses = F.cross_entropy(exact, fed[:, t + 1 : t + 1 + n].flatten(), reduction="none").view(-1, n)
            batch[:, t + 1 : t + 1 + n] = losses[: len(rows)].cpu()
            served += int(scored[:, t + 1 : t + 1 + n].sum()) if by_cache else 0
        nll.append(batch[scored])
        window.append(numbers[rows][scored])
    return Score(torch.cat(nll), torch.cat(window), served)


def _clustered_error(values: Tensor, cluster: Tensor) -> float | None:
    """Standard error of the mean of ``values`` that are independent between clusters only."""
    n = int(cluster.max()) + 1
    if n < 2:
        return None
    residual = torch.zeros(n, dtype=values.dtype).index_add_(0, cluster, values - values.mean())
    return sqrt(float(residual.square().sum()) * n / (n - 1)) / len(values)
