"""Latency: the time of T new tokens after a prompt of one, in total and per token, against T."""

from statistics import median

from kvgpt.record import metric
from kvgpt.statistics import median_interval


def bench_latency(benchmark, engine_of, prompt, workload, write_record, settings, variant, batch_size, new_tokens):
    engine = engine_of(variant, batch_size, new_tokens)
    benchmark.group = f"latency B={batch_size} T={new_tokens}"
    out = benchmark.pedantic(
        engine.generate, args=(prompt, new_tokens), rounds=settings.rounds, warmup_rounds=settings.warmup
    )
    assert out.shape == (batch_size, 1 + new_tokens), "the timed run produced another number of tokens than asked for"
    metrics = {}
    if benchmark.stats:
        samples = benchmark.stats.stats.data
        middle, interval = median(samples), median_interval(samples)
        tokens = batch_size * new_tokens

        def scaled(factor):
            bounds = None if interval is None else (interval[0] * factor, interval[1] * factor)
            return middle * factor, "measured", bounds, None, [sample * factor for sample in samples]

        metrics["total_latency"] = metric("total_latency", *scaled(1.0))
        metrics["per_token_latency"] = metric("per_token_latency", *scaled(1.0 / new_tokens))
        bounds = None if interval is None else (tokens / interval[1], tokens / interval[0])
        metrics["throughput"] = metric("throughput", tokens / middle, interval=bounds)
    workload |= {"batch_size": batch_size, "prompt": 1, "new_tokens": new_tokens, "max_length": new_tokens}
    workload |= {"warmup": settings.warmup, "rounds": settings.rounds}
    write_record("latency", workload, metrics, [])
