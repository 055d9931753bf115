"""G: what is generated, by whichever cache, sampler and engine, follows from the logits and the seeds alone."""

from functools import partial

import torch
from torch import Tensor

from kvgpt.conformance.contract import refused
from kvgpt.conformance.promise import promise
from kvgpt.conformance.scene import LONGEST
from kvgpt.conformance.subject import Stage, Subject

TOKENS = 17  # of the vocabulary that samplers are tried on


@promise("G1", "Greedy tokens are the uncached model's, or a tie within rounding where they part.", "answer", "float64")
def greedy(stage: Stage, n: int) -> None:
    prompt = stage.ids(3)
    tokens = stage.engine().generate(prompt, max_new_tokens=n + 2)
    assert torch.equal(tokens[:, :3], prompt), "the prompt is not what it was"
    engine = stage.engine()
    for t in range(3, tokens.size(1)):
        engine.reset()
        logits = engine.prefill(tokens[:, :t])  # (B, V)
        stage.agree(logits.unsqueeze(1), tokens[:, :t], t - 1)
        best, chosen = logits.amax(dim=1), logits.gather(1, tokens[:, t : t + 1]).squeeze(1)
        assert (best - chosen <= 2e-9).all(), f"token {t} is not the most likely"


@promise(
    "G3",
    "More tokens begin with fewer; with one seed a run repeats, and the global generators are left alone.",
    "float64",
)
def prefix(stage: Stage, n: int, seed: int) -> None:
    engine, prompt, before = stage.engine(), stage.ids(2), torch.get_rng_state()
    run = partial(engine.generate, prompt, temperature=0.9, seed=seed)
    short, long = run(max_new_tokens=n), run(max_new_tokens=n + 3)
    assert torch.equal(short, long[:, : 2 + n]), f"{n + 3} new tokens do not begin with {n}"
    assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
    assert torch.equal(run(max_new_tokens=n), short), "one seed, two outcomes"


@promise(
    "G5", "Rows with one prompt differ under one seed; a row with its own seed is the same in any batch.", "float64"
)
def rows(stage: Stage, seed: int) -> None:
    batch, prompt = 6, stage.ids(1, batch=1).expand(6, 1)

    def run(batch: int, seed: int | list[int]) -> Tensor:
        return stage.engine(batch).generate(prompt[:batch], max_new_tokens=8, temperature=50.0, seed=seed)

    tokens = run(batch, seed)
    for column in (tokens[:, 1:2], tokens[:, 1:]):  # the first new token alone, then all
        assert len(column.unique(dim=0)) > 1, f"six rows of one prompt drew the same {column.size(1)} tokens"
    seeds = [seed + row for row in range(batch)]
    assert torch.equal(run(batch, seeds)[4:5], run(1, seeds[4:5])), "a row's tokens depend on the rows beside it"


@promise("G6", "Exactly as many tokens as asked come out, none for 0, and after eos nothing but eos.", "float64")
def stopping(stage: Stage, n: int, seed: int) -> None:
    engine, prompt = stage.engine(3), stage.ids(2, batch=3)
    assert torch.equal(engine.generate(prompt, max_new_tokens=0), prompt), "0 new tokens, and something came"
    run = partial(engine.generate, prompt, max_new_tokens=n + 8, temperature=3.0, seed=seed)
    free = run()
    assert free.shape == (3, 2 + n + 8), f"asked for {n + 8} new tokens, got shape {tuple(free.shape)}"
    eos = int(free[0, 2 + n])
    stopped = run(eos=eos)
    expected = free.clone()
    for row in expected:
        ends = (row[2:] == eos).nonzero()
        if len(ends):
            row[2 + int(ends[0]) :] = eos
    assert torch.equal(stopped, expected), f"with eos={eos} a row goes on, stops early or is padded otherwise"
    room = engine.room or 0
    full = engine.generate(prompt, max_new_tokens=room - 1)
    assert full.size(1) == room + 1, "the last token is not fed back: one more than the room fits"
    too_many = lambda: engine.generate(prompt, max_new_tokens=room)  # noqa: E731 - an attempt
    refused("one new token more than fits", too_many, ValueError, naming=str(LONGEST))


@promise(
    "G2",
    "A token is drawn where the cumulative distribution passes its uniform number, never one of chance zero.",
    "reference",
)
def drawn(subject: Subject, seed: int, u: float, k: int, p: float) -> None:
    logits = _logits(seed)
    logits[:, ::3] = -torch.inf
    sampler = subject.sampler(0.7, k, p)
    token = sampler.pick(logits, torch.full((3,), u, dtype=torch.float64))
    chances = sampler.probabilities(logits)
    before = (chances.cumsum(dim=1) - chances).gather(1, token)
    width = chances.gather(1, token)
    assert (width > 0).all(), "a token of probability zero was drawn"
    assert ((before <= u + 1e-9) & (u <= before + width + 1e-9)).all(), f"u = {u} fell elsewhere"
    for row, token in (chances > 1e-6).nonzero().tolist():
        for part in (0.001, 0.999):  # well within its share, and near both ends of it
            where = chances[row, :token].sum() + part * chances[row, token]
            one = sampler.pick(logits[row : row + 1], where[None])
            assert int(one) == token, f"u = {float(where)} lies in the share of {token}, not of {int(one)}"
    at_zero = subject.sampler(1.0).pick(logits, torch.zeros(3, dtype=torch.float64))
    assert (at_zero == 1).all(), f"u = 0 is the first token of any chance, not {at_zero.flatten().tolist()}"


@promise(
    "G4",
    "top_k keeps exactly k, ties by index; top_p of those the smallest set that reaches p; sums are 1.",
    "reference",
)
def support(subject: Subject, seed: int, k: int, p: float, tied: bool) -> None:
    logits = _logits(seed)
    if tied:
        logits = logits.round()
    full = logits.softmax(dim=1)
    only_k, only_p = subject.sampler(1.0, top_k=k).probabilities(logits), subject.sampler(1.0, top_p=p)
    both = subject.sampler(1.0, k, p).probabilities(logits)
    for row, (whole, kept_k, kept_p, kept) in enumerate(
        zip(full.tolist(), only_k, only_p.probabilities(logits), both, strict=True)
    ):
        order = logits[row].sort(descending=True, stable=True).indices.tolist()
        expected = [
            (f"top_k={k}", kept_k, order[:k]),
            (f"top_p={p}", kept_p, _nucleus(whole, order, p)),
            (f"top_k={k}, top_p={p}", kept, _nucleus(_scaled(whole, order[:k]), order[:k], p)),
        ]
        for what, chances, tokens in expected:
            support = sorted(chances.nonzero().flatten().tolist())
            assert support == sorted(tokens), f"{what} kept {support} of {[round(chance, 4) for chance in whole]}"
            right = torch.tensor(_scaled(whole, tokens), dtype=torch.float64)
            assert torch.allclose(chances, right, rtol=1e-9, atol=1e-15), f"{what}: chances are not rescaled to 1"
    assert torch.equal(subject.sampler(1.0, top_p=1.0).probabilities(logits), full), "top_p=1 changes something"
    logits = _logits(seed)
    best = logits.argmax(dim=1, keepdim=True)
    for temperature in (0.0, 1e-300):
        cold = subject.sampler(temperature).pick(logits, torch.full((3,), 0.999, dtype=torch.float64))
        assert torch.equal(cold, best), f"temperature {temperature} is not greedy"
    warm = subject.sampler(2.0).probabilities(logits)
    assert torch.allclose(warm, (logits / 2).softmax(dim=1), rtol=1e-9), "temperature 2 does not halve the logits"


@promise("G7", "A row's uniforms come from its seed alone, in [0, 1).", "reference")
def chances(subject: Subject, seed: int, n: int) -> None:
    uniforms = subject.uniforms
    assert torch.equal(uniforms(seed, 4, n)[:2], uniforms(seed, 2, n)), "more rows changed the first ones"
    assert torch.equal(uniforms(seed, 2, n + 3)[:, :n], uniforms(seed, 2, n)), "more numbers changed the first ones"
    assert torch.equal(uniforms([seed, seed + 1], 2, n)[1], uniforms([seed + 1], 1, n)[0]), "a seed depends on its row"
    assert not torch.equal(uniforms(seed, 2, 6)[0], uniforms(seed, 2, 6)[1]), "two rows of one seed are alike"
    many = uniforms(seed, 1, 1000)
    assert float(many.min()) >= 0 and float(many.max()) < 1, "a uniform number of 1 draws no token"


def _logits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, TOKENS, generator=generator, dtype=torch.float64) * 2


def _nucleus(chances: list[float], order: list[int], p: float) -> list[int]:
    """The fewest of ``order``, most likely first, whose mass reaches p; the one that crosses included."""
    mass = 0.0
    for number, token in enumerate(order):
        mass += chances[token]
        if mass >= p:
            return order[: number + 1]
    return order


def _scaled(chances: list[float], tokens: list[int]) -> list[float]:
    total = sum(chances[token] for token in tokens)
    return [chance / total if token in tokens else 0.0 for token, chance in enumerate(chances)]
