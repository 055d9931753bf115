"""The attention of a decode step alone, as a fraction of the bandwidth at which the device reads the same bytes.

A round attends once in every layer. *Cold*, a block larger than the last-level cache is read before each round; *warm*,
the round before has read the same vectors.
"""

import torch

from kvgpt.costs import Demand
from kvgpt.measure.fill import stand_at
from kvgpt.measure.floors import Claim
from kvgpt.measure.roof import SIZES
from kvgpt.recipes import Variant
from kvgpt.record import metric

ALONE = "attention asks no other rank for anything: measure it in one process, on a model with fewer heads"


def left_out(item, chosen, model):
    variant = item.callspec.params["variant"]
    if variant not in chosen.caches and Variant.parse(variant).recomputes:
        return f"{variant} keeps nothing that could be attended over"
    return None


LENGTHS = (256, 1024)  # in place of the grid's: a short context is all overhead
READS = ("cold", "warm")


def pytest_generate_tests(metafunc):
    metafunc.parametrize("reads", READS)


def bench_attention(
    benchmark, case, time_of, engine_of, bill_of, floors, model, settings, sweep, variant, reads, batch_size, context
):
    case.begin("attention", batch_size=batch_size, context=context, max_length=context, reads=reads)
    benchmark.group = f"attention {reads} B={batch_size} S={context}"
    engine = engine_of(variant, batch_size, context)
    stand_at(engine, context)
    cache, config = engine.cache, model.config
    q = torch.ones(batch_size, config.n_head, 1, config.head_dim, dtype=cache.shape.dtype, device=cache.position.device)

    @torch.inference_mode()
    def attend():
        for layer in range(cache.shape.n_layer):
            cache.attend_held(layer, q)

    timed = time_of(attend, setup=sweep if reads == "cold" else lambda: None)
    metrics, claims = {}, []
    if timed:
        held = batch_size * context * bill_of(batch_size).token_bytes
        rate = held / timed.median
        working_set = held if reads == "warm" else SIZES[settings.device][-1]
        metrics = {
            "total_latency": timed.time("total_latency"),
            "achieved_bandwidth": timed.rate("achieved_bandwidth", held),
            "fraction_of_bandwidth": metric("fraction_of_bandwidth", rate / floors.roof.bandwidth(working_set)),
        }
        pairs = batch_size * config.n_layer * context
        claims = [Claim("total_latency", [Demand(4 * config.n_embd * pairs, held)], working_set)]
    case.end(metrics, claims=claims)
