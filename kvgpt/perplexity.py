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
        """Of ``nll`` over its tokens, in nats."""
        return float(self.nll.mean())

    @property
    def perplexity(self) -> float:
        """The exponential of the mean."""
        return exp(self.mean)

    @property
    def stderr(self) -> float | None:
        """Standard error of the mean, windows taken as independent; None for a single window."""
        return clustered_error(self.nll, self.window)

    def change(self, reference: "Score") -> tuple[float, float | None]:
        """Mean of nll less the reference's on the same tokens, and its standard error."""
        if not torch.equal(self.window, reference.window):
            raise ValueError(f"{len(self.nll)} and {len(reference.nll)} scored tokens are not the same tokens")
        difference = self.nll - reference.nll
        return float(difference.mean()), clustered_error(difference, self.window)

    def by_position(self, positions: Tensor) -> list[tuple[int, int, float]]:
        """(first, last, mean of nll) of tokens whose ``positions`` (N,) in their windows lie in one power of two."""
        powers = positions.double().log2().floor().long()  # (N,)
        return [
            (2**power, 2 ** (power + 1) - 1, float(self.nll[powers == power].mean()))
            for power in powers.unique().tolist()
        ]


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

    @property
    def numbers(self) -> Tensor:
        """The window of each scored token, (scored_tokens,), in the text's order."""
        return self.scored.nonzero()[:, 0]

    @property
    def positions(self) -> Tensor:
        """The position of each scored token in its window, (scored_tokens,), in the text's order."""
        return self.scored.nonzero()[:, 1]

    def every(self, nth: int) -> "Windows":
        """The first of every ``nth`` windows, spread over the whole text."""
        return Windows(self.ids[::nth], self.scored[::nth])

    def first(self, tokens: int) -> "Windows":
        """The first ``tokens`` of every window."""
        return Windows(self.ids[:, :tokens], self.scored[:, :tokens])


@dataclass(frozen=True)
class Stretch:
    """Positions ``start`` to ``start + n - 1`` of a batch of windows, whose numbers are ``rows`` (b,).

    ``logits`` (B, n, V) predict the tokens after them; the first b rows count. ``by_cache``: each came from one token
    fed to a cache that held all before it.
    """

    rows: Tensor
    start: int
    logits: Tensor
    by_cache: bool

    @property
    def predicted(self) -> slice:
        """The places of the tokens that the logits predict."""
        return slice(self.start + 1, self.start + 1 + self.logits.size(1))


Mode = Callable[[Engine, Windows], Iterator[Stretch]]


def at_once(engine: Engine, windows: Windows) -> Iterator[Stretch]:
    """Each window through the cache at once."""
    for rows, ids, _ in _batches(engine, windows):
        yield Stretch(rows, 0, engine.prefill(ids[:, :-1], every_position=True), by_cache=False)


def one_a_step(engine: Engine, windows: Windows) -> Iterator[Stretch]:
    """Each window through the cache one token a step, after the context that no window of its batch scores."""
    for rows, ids, first in _batches(engine, windows):
        if first > 1:
            engine.prefill(ids[:, : first - 1])
        for t in range(first - 1, ids.size(1) - 1):
            logits = engine.decode(ids[:, t : t + 1]).unsqueeze(1)  # (B, 1, V)
            yield Stretch(rows, t, logits, engine.cache.length == t + 1 and not engine.cache.stateless)


def teacher_forced(engine: Engine, windows: Windows) -> Score:
    """The score of :func:`~kvgpt.perplexity.at_once`."""
    return score(engine, windows, at_once)


def autoregressive(engine: Engine, windows: Windows) -> Score:
    """The score of :func:`~kvgpt.perplexity.one_a_step`."""
    return score(engine, windows, one_a_step)


def score(engine: Engine, windows: Windows, mode: Mode) -> Score:
    """The loss of every scored token, float64; those of bfloat16 logits are taken in float32."""
    nll, served = torch.zeros(windows.ids.shape, dtype=torch.float64), 0  # (N, W)
    for stretch in mode(engine, windows):
        rows, predicted, logits = stretch.rows, stretch.predicted, stretch.logits[: len(stretch.rows)]  # (b, n, V)
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, 1)  # (b n, V)
        targets = windows.ids[rows, predicted].to(exact.device)  # (b, n)
        losses = F.cross_entropy(exact, targets.flatten(), reduction="none").view_as(targets)
        nll[rows, predicted] = losses.double().cpu()
        served += int(windows.scored[rows, predicted].sum()) if stretch.by_cache else 0
    return Score(nll[windows.scored], windows.numbers, served)


def fed_tokens(windows: Windows, stateless: bool) -> int:
    """Tokens that go through the model where each window is scored one token a step, from the first that counts.

    A cache that keeps nothing is fed its whole context again in every step. Windows that overlap and are scored side by
    side all start where the earliest does, which feeds such a cache a few tokens more.
    """
    N, W = windows.ids.shape
    if not stateless:
        return N * (W - 1)
    before = windows.scored.int().argmax(dim=1) - 1  # (N,): tokens fed at once, ahead of the steps
    return int((before + (W * (W - 1) - before * (before + 1)) // 2).sum())


def _batches(engine: Engine, windows: Windows) -> Iterator[tuple[Tensor, Tensor, int]]:
    """The numbers of a batch's windows (b,), ids (B, W) filled up with zeros, and the first place that one scores.

    The engine is fresh for each batch.
    """
    for rows in torch.arange(len(windows.ids)).split(engine.batch_size):
        filling = (0, 0, 0, engine.batch_size - len(rows))
        fed = F.pad(windows.ids[rows], filling).to(engine.cache.position.device)  # (B, W)
        engine.reset()
        yield rows, fed, int(windows.scored[rows].int().argmax(dim=1).min())


def clustered_error(values: Tensor, cluster: Tensor) -> float | None:
    """Standard error of the mean of ``values`` (N,) that are independent between clusters only; None for one cluster.

    ``cluster`` (N,) numbers them from 0.
    """
    n = int(cluster.max()) + 1
    if n < 2:
        return None
    residual = torch.zeros(n, dtype=values.dtype).index_add_(0, cluster, values - values.mean())
    return sqrt(float(residual.square().sum()) * n / (n - 1)) / len(values)
