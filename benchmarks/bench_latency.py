"""Latency: T new tokens after a prompt of one, in total, per token and to the first; and a prompt of T to its first."""

import torch

from kvgpt.measure.clocks import device_clock
from kvgpt.measure.floors import Claim, work
from kvgpt.measure.rounds import time_metric

PEERS = True
ALSO = ("dense-cat", "dense+matmul")  # what preallocation and fused attention buy: each differs from v1 in one thing


def bench_latency(
    benchmark, case, time_of, engine_of, bill_of, floors, prompt, settings, variant, batch_size, new_tokens
):
    case.begin("latency", batch_size=batch_size, prompt=1, new_tokens=new_tokens, max_length=new_tokens)
    benchmark.group = f"latency B={batch_size} T={new_tokens}"
    engine, clock, marks = engine_of(variant, batch_size, new_tokens), device_clock(settings.device), []

    def generate():
        begun, tokens = clock(), []
        for token in engine.stream(prompt, new_tokens):
            tokens.append(token)
            if len(tokens) == 1:
                marks.append((begun, clock()))
        return torch.cat([prompt, *tokens], dim=1)

    bill = bill_of(batch_size)
    steps, working_set = bill.generation(new_tokens), bill.working_set(new_tokens)
    body = generate if engine.streams else lambda: engine.generate(prompt, new_tokens)
    timed = time_of(body, least=floors.roof.seconds(steps, working_set))
    assert timed.result.shape == (batch_size, 1 + new_tokens), "the timed run made another number of tokens"
    metrics, claims = {}, []
    if timed:
        first = [end - start for start, end in timed.of_rounds(marks)] if engine.streams else []
        metrics = {
            "total_latency": timed.time("total_latency"),
            "per_token_latency": timed.time("per_token_latency", 1 / new_tokens),
            "throughput": timed.rate("throughput", batch_size * new_tokens),
            **work(steps, timed.median),
        }
        claims = [Claim("per_token_latency", steps, working_set, 1 / new_tokens)]
        if first:
            metrics["time_to_first_token"] = time_metric("time_to_first_token", first)
            claims.append(Claim("time_to_first_token", steps[:1], working_set))
        if settings.device == "cuda":
            metrics["host_latency"] = time_metric("host_latency", timed.host)
    case.end(metrics, claims=claims)


def bench_prefill(benchmark, case, time_of, engine_of, bill_of, prompt, settings, variant, batch_size, new_tokens):
    case.begin("latency", batch_size=batch_size, prompt=new_tokens, new_tokens=1, max_length=new_tokens)
    benchmark.group = f"prefill B={batch_size} T={new_tokens}"
    engine, ids = engine_of(variant, batch_size, new_tokens), prompt.expand(-1, new_tokens)
    timed = time_of(lambda: engine.prefill(ids), setup=engine.reset)
    metrics, claims = {}, []
    if timed:
        bill = bill_of(batch_size)
        step = bill.step(held=0, fed=new_tokens)
        metrics = {"time_to_first_token": timed.time("time_to_first_token"), **work([step], timed.median)}
        claims = [Claim("time_to_first_token", [step], bill.working_set(new_tokens))]
    case.end(metrics, claims=claims)
