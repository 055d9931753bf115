"""Past the learned positions: text streamed one token a step for T tokens, by every policy that the model can have.

A stream's figures are of its own T tokens: latency, the bytes held, perplexity over all and over the last quarter of a
context before T, which shows what the boundary costs. Windows and the caches of ``recompute`` hold one context;
``interpolate`` stretches the positions over all that is streamed. A ``shift`` is
approximate: its perplexity is marked as that of another function.
"""

from math import ceil, exp
from statistics import median

import torch

from kvgpt.measure.memory import resident
from kvgpt.record import metric
from kvgpt.statistics import normal_interval

STREAMS = 4  # at most, side by side, each another stretch of the text


def bench_positions(
    benchmark, engine_of, model, corpus, held_out, workload, write_record, settings, variant, positions, contexts
):
    context = model.config.block_size
    length = round(contexts * context)
    rows = max(1, min(STREAMS, len(held_out) // (length + 1)))
    text = held_out[: rows * (length + 1)].view(rows, length + 1).to(model.wte.weight.device)
    named, room = _sized(variant, positions, length, context)
    engine = engine_of(variant, rows, room, named)
    benchmark.group = f"positions T={length}"
    clock = benchmark._timer

    def stream():
        nll, times, held = torch.empty(rows, length, dtype=torch.float64), [], []
        engine.reset()
        for t in range(length):
            begun = clock()
            logits = engine.decode(text[:, t : t + 1])
            times.append(clock() - begun)
            losses = torch.nn.functional.cross_entropy(logits.float(), text[:, t + 1], reduction="none")
            nll[:, t] = losses.cpu()
            if t in (length // 5, length - 1):
                held.append((engine.cache.nbytes, resident()))
        return nll, times, held

    nll, times, held = benchmark.pedantic(stream, rounds=1)
    tenth, quarter = max(1, length // 10), max(1, context // 4)
    windowed = engine.cache.window is not None
    growth = held[-1][0] - held[0][0]
    assert not windowed or growth == 0, f"a window grew by {growth} bytes"
    whole, end = nll.mean(dim=1), nll[:, -quarter:].mean(dim=1)  # (rows,)
    metrics = {
        "per_token_latency": metric("per_token_latency", median(times[-quarter:]), samples=times[-quarter:]),
        "throughput": metric("throughput", rows * length / sum(times)),
        "cache_bytes": metric("cache_bytes", engine.cache.nbytes),
        "latency_drift": metric("latency_drift", median(times[-tenth:]) / median(times[tenth : 2 * tenth or None])),
        **_quality("", whole),
        **_quality("_at_end", end),
    }
    if held[0][1] is not None:
        metrics["resident_growth"] = metric("resident_growth", held[-1][1] - held[0][1])
    workload |= {
        "batch_size": rows,
        "prompt": 1,
        "new_tokens": length,
        "max_length": room,
        "scored_tokens": nll.numel(),
    }
    workload |= {
        "positions": engine.positions,
        "approximate": engine.policy.approximate,
        "mode": "autoregressive",
        "corpus": corpus.name if corpus else "random",
    }
    if corpus:
        workload["corpus_sha256"] = corpus.sha256
    write_record("positions", workload, metrics, [])


def _sized(variant, positions, length, context):
    """The policy with its number, and the room of its cache, for streams of ``length``."""
    if positions == "interpolate":
        return f"interpolate:{ceil((length - 1) / (context - 1)) or 1}", length
    unbounded = variant == "v1" and positions == "error"
    return positions, length if unbounded else context


def _quality(suffix, losses):
    """Mean loss and perplexity over streams, (rows,), each taken as one independent sample."""
    nll = float(losses.mean())
    stderr = float(losses.std() / len(losses) ** 0.5) if len(losses) > 1 else None
    bounds = None if stderr is None else normal_interval(nll, stderr)
    spread = bounds and (exp(bounds[0]), exp(bounds[1]))
    return {
        f"nll{suffix}": metric(f"nll{suffix}", nll, interval=bounds, stderr=stderr),
        f"perplexity{suffix}": metric(f"perplexity{suffix}", exp(nll), interval=spread),
    }
