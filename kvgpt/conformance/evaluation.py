"""F: perplexity is what its definition says, by whichever cache, and the cache had a part in it."""

import math
from typing import cast

import torch
from torch import Tensor

from kvgpt import known_answers as known
from kvgpt.config import sharing_group
from kvgpt.conformance import oracle, strategies, tolerances
from kvgpt.conformance.promise import promise
from kvgpt.conformance.scene import LONGEST, VOCABULARY
from kvgpt.conformance.subject import Stage, Subject
from kvgpt.engine import Engine
from kvgpt.model import GPT

WINDOW = 12


@promise("F1", "Teacher-forced or one token a step, in any batch: the same losses.", "answer", "float64")
def one_definition(stage: Stage, length: int, stride: int, batch: int) -> None:
    subject, text = stage.subject, strategies.ids(1, length, stage.scene.seed)[0]
    cut = subject.windows.cut(text, WINDOW, stride)
    forced = subject.forced(stage.engine(batch), cut)
    for what, score in (
        ("one token a step", subject.stepped(stage.engine(batch), cut)),
        ("in a batch of one", subject.forced(stage.engine(1), cut)),
        ("in a batch of seven", subject.forced(stage.engine(7), cut)),
    ):
        change, allowed = abs(score.change(forced)[0]), tolerances.MEAN_NLL_FLOAT64
        assert change <= allowed, f"{what} the mean loss is {change:.3g} off, allowed {allowed:.3g}"


@promise(
    "F2",
    "The losses are the oracle's, each token scored once, with the context that its window gives it.",
    "answer",
    "float64",
)
def losses(stage: Stage, length: int, stride: int, batch: int) -> None:
    subject, text = stage.subject, strategies.ids(1, length, stage.scene.seed)[0]
    cut = subject.windows.cut(text, WINDOW, stride)
    places, scored = (torch.stack(part) for part in zip(*_places(length, stride), strict=True))  # each (N, W)
    windows = text[places.clamp(max=length - 1)]
    likely = _oracle(stage, windows).log_softmax(dim=2)  # (N, W, V)
    right = [-float(likely[row, column - 1, windows[row, column]]) for row, column in scored.nonzero().tolist()]
    for what, score in (("teacher-forced", subject.forced), ("one token a step", subject.stepped)):
        made = score(stage.engine(batch), cut)
        assert len(made.nll) == len(right), f"{what}: {len(made.nll)} losses for {len(right)} tokens to score"
        verdict = tolerances.exact(made.nll, torch.tensor(right, dtype=torch.float64))
        assert verdict, f"{what}, stride {stride}: {verdict}"
        assert abs(made.mean - sum(right) / len(right)) < tolerances.SEMANTICS, f"{what}: the mean is not over tokens"


@promise("F5", "One token a step, the cache served every scored token, and says so.", "keeps", "float64")
def served(stage: Stage, length: int, stride: int) -> None:
    subject, text = stage.subject, strategies.ids(1, length, stage.scene.seed)[0]
    cut = subject.windows.cut(text, WINDOW, stride)
    engine = stage.engine(2)
    steps = []

    decode = engine.decode

    def watched(ids: Tensor) -> Tensor:
        steps.append(engine.cache.length)
        return decode(ids)

    engine.decode = watched  # type: ignore[method-assign]  # of this one engine
    score = subject.stepped(engine, cut)
    assert score.served == len(score.nll), f"{score.served} of {len(score.nll)} scored tokens came through the cache"
    batches = -(-len(cut.ids) // 2)
    assert steps.count(WINDOW - 2) == batches, "the last token of a window was not predicted from a full cache"
    assert subject.forced(stage.engine(2), cut).served == 0, "teacher forcing does not go through the cache by steps"


@promise(
    "F3", "Known answers: even logits give the vocabulary, a Markov chain the exponential of its entropy.", "reference"
)
def known_answers(subject: Subject, seed: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    even = torch.zeros(VOCABULARY, VOCABULARY, dtype=torch.float64)
    text = torch.randint(VOCABULARY, (60,), generator=generator)
    score = subject.forced(_engine(subject, even, batch), subject.windows.cut(text, WINDOW, WINDOW))
    assert abs(score.perplexity - VOCABULARY) < 1e-9 * VOCABULARY, f"even logits: perplexity {score.perplexity}"
    text, entropy = known.chain_text(3000, generator), known.chain_entropy()
    chain = known.chain_logits()
    score = subject.stepped(_engine(subject, chain, 16 * batch), subject.windows.cut(text, WINDOW, WINDOW))
    assert abs(score.mean - entropy) < 0.05, f"a chain of entropy {entropy:.4f} has a mean loss of {score.mean:.4f}"
    assert math.isclose(score.perplexity, math.exp(score.mean)), "perplexity is the exponential of the mean loss"


@promise(
    "F4",
    "The mean is over tokens, its error over windows, a change is paired, and other tokens are refused.",
    "reference",
)
def means(subject: Subject, seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(VOCABULARY, (5 * n + 20,), generator=generator)
    table = torch.randn(VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64)
    cut = subject.windows.cut(text, WINDOW, WINDOW)
    score = subject.forced(_engine(subject, table, 3), cut)
    losses = -table.log_softmax(dim=1)[text[:-1], text[1:]]  # (N - 1,), the loss of token t + 1
    scored = [token for token in range(1, len(text)) if token % WINDOW]
    right = losses[[token - 1 for token in scored]]
    assert len(score.nll) == len(scored), f"{len(score.nll)} tokens scored of {len(scored)}"
    assert abs(score.mean - float(right.mean())) < 1e-12, "the mean is not the mean over all scored tokens"
    windows = torch.tensor([token // WINDOW for token in scored])
    change, error = score.change(type(score)(score.nll + 0.25, score.window, 0))
    assert abs(change + 0.25) < 1e-12 and error is not None and error < 1e-12, (
        f"a shift of 0.25 reads {change}, {error}"
    )
    residual = [float((right - right.mean())[windows == one].sum()) for one in range(int(windows.max()) + 1)]
    count = len(residual)
    expected = math.sqrt(sum(one**2 for one in residual) * count / (count - 1)) / len(scored)
    assert score.stderr is not None and abs(score.stderr - expected) < 1e-12, (
        f"stderr {score.stderr}, {expected} is right"
    )
    shorter = subject.forced(_engine(subject, table, 3), subject.windows.cut(text[:-WINDOW], WINDOW, WINDOW))
    other = subject.forced(_engine(subject, table, 3), subject.windows.cut(text, WINDOW, 5))
    for stranger in (shorter, other):
        try:
            score.change(stranger)
        except ValueError:
            continue
        raise AssertionError("losses of other tokens were compared")


def _engine(subject: Subject, table: Tensor, batch: int) -> Engine:
    model = known.Table(table, LONGEST)
    return subject.engine(cast(GPT, model), "v1", batch)  # it has all of a GPT that an engine asks for


def _places(length: int, stride: int) -> list[tuple[Tensor, Tensor]]:
    """Each window's places (W,) in a text, and which of them it scores, by the definition, one window at a time."""
    windows, scored_to, start = [], 1, 0
    while start + max(WINDOW - stride, 1) < length:
        places = torch.arange(start, start + WINDOW)
        scored = (places >= max(scored_to, start + 1)) & (places < length)
        windows.append((places, scored))
        scored_to, start = start + WINDOW, start + stride
    return windows


def _oracle(stage: Stage, ids: Tensor) -> Tensor:
    """The oracle's logits (N, W, V)."""
    scene, config = stage.scene, stage.config
    window, sinks = stage.window
    round_trip = stage.probe.round_trip if "map" in stage.subject.abilities else None
    group = sharing_group(scene.sharing)
    return oracle.logits(stage.state, ids, config.n_head, group, config.n_kv_head, round_trip, window, sinks)
