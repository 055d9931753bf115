"""Past the learned positions: text streamed one token a step for T tokens, by every policy that the model can have.

A stream's figures are of its own T tokens: the bytes held, the mean latency of the last context's steps, in which
``recompute`` pays for what it encodes again, and perplexity over all and over the last quarter of a context before T,
which shows what the boundary costs. Windows and the caches of ``recompute`` hold one context; ``interpolate`` stretches
the positions over all that is streamed. A ``shift`` is approximate: its perplexity is not the model's, and is marked.
"""

from math import ceil, exp
from statistics import mean, median

import torch
import torch.nn.functional as F

from kvgpt.measure import subject
from kvgpt.measure.clocks import host_clock
from kvgpt.measure.floors import Claim
from kvgpt.measure.memory import resident
from kvgpt.options import SETTINGS
from kvgpt.record import metric
from kvgpt.statistics import normal_interval

BEYOND = {  # ways past the learned positions -> (variant, policy)
    "learned": [
        ("v1", "recompute"),
        ("v2", "recompute"),
        ("dense+window", "shift"),
        ("int8+window", "shift"),
        ("v1", "interpolate"),
    ],
    "rotary": [("v1", "error"), ("dense+window", "error"), ("int8+window", "error"), ("v1", "recompute")],
}
COMPARED = ("positions",)  # beside the variants: the policies at one length
STREAMS = 4  # at most, side by side, each another stretch of the text


def pytest_generate_tests(metafunc):
    contexts = metafunc.config.stash[SETTINGS].contexts or (0,)
    metafunc.parametrize("contexts", contexts, ids=[f"contexts={value:g}" for value in contexts])
    metafunc.parametrize(("variant", "positions"), BEYOND[subject.model(metafunc.config).config.position_embedding])


def left_out(item, chosen, model):
    contexts = item.callspec.params["contexts"]
    if contexts == 0:
        return "this grid streams no text past the context"
    if contexts * model.config.block_size > (chosen.max_tokens or float("inf")):
        return f"only {chosen.max_tokens} tokens of text were asked for"
    return None


def bench_positions(
    benchmark, case, engine_of, bill_of, model, held_out, scored_text, settings, variant, positions, contexts
):
    context = model.config.block_size
    length = round(contexts * context)
    rows = max(1, min(STREAMS, len(held_out) // (length + 1)))
    text = held_out[: rows * (length + 1)].view(rows, length + 1).to(model.device)
    named, room = _sized(variant, positions, length, context)
    size = {"batch_size": rows, "prompt": 1, "new_tokens": length, "max_length": room}
    case.begin("positions", **size, mode="autoregressive", **scored_text)
    engine = engine_of(variant, rows, room, named)
    benchmark.group = f"positions T={length}"
    nll, times, held = benchmark.pedantic(_stream, args=(engine, text, host_clock(settings.device)), rounds=1)

    tenth, quarter = max(1, length // 10), max(1, context // 4)
    grown = held[-1][0] - held[0][0]
    assert engine.cache.window is None or grown == 0, f"a window grew by {grown} bytes"
    metrics = {
        "per_token_latency": metric("per_token_latency", mean(times[-context:])),
        "throughput": metric("throughput", rows * length / sum(times)),
        "latency_drift": metric("latency_drift", median(times[-tenth:]) / median(times[tenth : 2 * tenth])),
        "cache_bytes": metric("cache_bytes", engine.cache.nbytes),
        **_quality("", nll.mean(dim=1)),
        **_quality("_at_end", nll[:, -quarter:].mean(dim=1)),
    }
    if held[0][1] is not None:
        metrics["resident_growth"] = metric("resident_growth", held[-1][1] - held[0][1])
    bill, tokens = bill_of(rows), [_least_held(engine, t) for t in range(max(0, length - context), length)]
    steps = [bill.step(held_before) for held_before in tokens]
    claims = [Claim("per_token_latency", steps, bill.working_set(max(tokens)), 1 / len(steps))]
    case.end(
        metrics,
        claims=claims,
        positions=engine.positions,
        approximate=engine.policy.approximate,
        scored_tokens=nll.numel(),
    )


def _stream(engine, text, now):
    """Losses (rows, T) of what follows each token, the time of each step, and (cache, process) bytes early and late."""
    rows, length = text.size(0), text.size(1) - 1
    nll, held = torch.empty(rows, length, dtype=torch.float64), []
    times = torch.empty(length, dtype=torch.float64)  # there from the start, so that nothing grows but what is measured
    engine.reset()
    for t in range(length):
        begun = now()
        logits = engine.decode(text[:, t : t + 1])
        times[t] = now() - begun
        nll[:, t] = F.cross_entropy(logits.float(), text[:, t + 1], reduction="none").cpu()
        if t in (length // 5, length - 1):
            held.append((engine.cache.nbytes, resident()))
    return nll, times.tolist(), held


def _least_held(engine, t):
    """Tokens that the cache holds at least before step ``t`` of a stream."""
    if engine.policy.recomputes:
        return min(t, engine.max_length - engine.policy.recomputes)
    return min(t, engine.max_length - 1)


def _sized(variant, positions, length, context):
    """The policy with its number, and the room of its cache, for streams of ``length``."""
    if positions == "interpolate":
        return f"interpolate:{max(1, ceil((length - 1) / (context - 1)))}", length
    return positions, length if (variant, positions) == ("v1", "error") else context


def _quality(suffix, losses):
    """Mean loss and perplexity; streams (rows,) are taken as independent of each other."""
    nll = float(losses.mean())
    stderr = float(losses.std() / len(losses) ** 0.5) if len(losses) > 1 else None
    bounds = None if stderr is None else normal_interval(nll, stderr)
    spread = bounds and (exp(bounds[0]), exp(bounds[1]))
    return {
        f"nll{suffix}": metric(f"nll{suffix}", nll, interval=bounds, stderr=stderr),
        f"perplexity{suffix}": metric(f"perplexity{suffix}", exp(nll), interval=spread),
    }
