"""Phases: T new tokens after a prompt of one, divided into embedding, attention, MLP, head and all the rest."""

from kvgpt.measure.clocks import device_clock
from kvgpt.measure.floors import Claim
from kvgpt.measure.phases import imbalance, interleaved, summary
from kvgpt.record import metric
from kvgpt.steps import Steps

LENGTHS = (256, 512)  # in place of the grid's: a few lengths tell where time goes
KINDS = 3  # of steps: a case may take as many times what others may


def bench_phases(
    benchmark, case, time_of, engine_of, bill_of, floors, prompt, settings, variant, batch_size, new_tokens
):
    case.begin("phases", batch_size=batch_size, prompt=1, new_tokens=new_tokens, max_length=new_tokens)
    benchmark.group = f"phases B={batch_size} T={new_tokens}"
    # A phase begins where a module of the model does: recorded steps and fused ones call none.
    engine, clock = engine_of(variant, batch_size, new_tokens, steps=Steps), device_clock(settings.device)
    generations = []

    def generate():
        steps = interleaved(engine.stream(prompt, new_tokens), engine.model, clock, first=len(generations))
        generations.append(steps)

    bill = bill_of(batch_size)
    steps, working_set = bill.generation(new_tokens), bill.working_set(new_tokens)
    timed = time_of(generate, times=KINDS, least=floors.roof.seconds(steps, working_set), in_turns=True)
    assert all(len(one) == new_tokens for one in generations), "the run made another number of tokens"
    metrics, notes, details, claims = {}, [], {}, []
    if timed:
        counted = timed.of_rounds(generations)
        metrics = summary(counted)
        metrics["per_token_latency"] = metric("per_token_latency", metrics["total_latency"]["value"] / new_tokens)
        notes = imbalance(metrics)
        details = {"generations": len(counted)}
        claims = [Claim("per_token_latency", steps, working_set, 1 / new_tokens)]
    case.end(metrics, notes, details, claims)
