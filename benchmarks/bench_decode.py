"""Decode: one step of one token a row, when a given context is held with it."""

from kvgpt.measure.fill import stand_at
from kvgpt.measure.floors import Claim, work
from kvgpt.peers import streams

PEERS = True


def left_out(item, chosen, model):
    """A peer without a step of its own."""
    variant = item.callspec.params["variant"]
    return None if streams(variant) else f"{variant} takes no single steps: it is in the latency family"


def bench_decode(benchmark, case, time_of, engine_of, bill_of, prompt, variant, batch_size, context):
    case.begin("decode", batch_size=batch_size, context=context, max_length=context)
    benchmark.group = f"decode B={batch_size} S={context}"
    engine = engine_of(variant, batch_size, context)
    timed = time_of(lambda: engine.decode(prompt), setup=lambda: stand_at(engine, context - 1))
    assert engine.length == context, f"the step was timed at {engine.length} tokens"
    metrics, claims = {}, []
    if timed:
        bill = bill_of(batch_size)
        step = bill.step(held=context - 1)
        metrics = {"per_token_latency": timed.time("per_token_latency"), **work([step], timed.median)}
        metrics["throughput"] = timed.rate("throughput", batch_size)
        claims = [Claim("per_token_latency", [step], bill.working_set(context))]
    case.end(metrics, claims=claims)
