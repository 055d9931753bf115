"""Phases: T new tokens after a prompt of one, divided into embedding, attention, MLP, head and all the rest."""

from functools import partial

import torch

from kvgpt.measure.clocks import device_clock
from kvgpt.measure.floors import Claim
from kvgpt.measure.phases import Turns, divided, imbalance

LENGTHS = (256, 512)  # in place of the grid's: a few lengths tell where time goes


def bench_phases(benchmark, case, time_of, engine_of, bill_of, prompt, settings, variant, batch_size, new_tokens):
    case.begin("phases", batch_size=batch_size, prompt=1, new_tokens=new_tokens, max_length=new_tokens)
    benchmark.group = f"phases B={batch_size} T={new_tokens}"
    engine, clock = engine_of(variant, batch_size, new_tokens), device_clock(settings.device)

    def generate():
        return torch.cat(list(engine.stream(prompt, new_tokens)), dim=1)

    turns = Turns(partial(divided, generate, engine.model, clock))
    timed = time_of(generate, setup=turns.before)
    turns.finish()
    assert timed.result.shape == (batch_size, new_tokens), "the timed run made another number of tokens"
    metrics, notes, details, claims = {}, [], {}, []
    if timed:
        metrics = turns.summary(timed.seconds)
        metrics["per_token_latency"] = timed.time("per_token_latency", 1 / new_tokens)
        notes = imbalance(metrics)
        once, finely = (kind[-1].count // new_tokens for kind in (turns.once, turns.finely))
        details = {"marks": once, "marks_finely": finely, "turns": len(timed.seconds)}  # marks a token
        bill = bill_of(batch_size)
        steps, working_set = bill.generation(new_tokens), bill.working_set(new_tokens)
        claims = [Claim("per_token_latency", steps, working_set, 1 / new_tokens)]
    case.end(metrics, notes, details, claims)
