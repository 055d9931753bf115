"""A results file of every family for the seven variants, consistent throughout: times after the curves that the
original research published, bytes and capacities after the closed forms, perplexities as published.
"""

import json
from math import log
from pathlib import Path

from kvgpt import costs, record, recorded, transients
from kvgpt.config import GPTConfig
from kvgpt.recipes import ALIASES, Variant
from kvgpt.record import metric

LENGTHS = (32, 64, 96, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 896, 1024)
PHASED = (256, 512)
CURVES = {  # of the total latency in ms: a T^2 + b T + c
    "v0": (0.00478, 2.27, 30.46),
    "v1": (0.0000578, 3.17, 1.06),
    "v2": (0.00388, 2.61, 8.0),
    "v3": (0.0000539, 2.94, 1.0),
    "v4": (0.00373, 2.92, 9.0),
    "v3a": (0.0000539, 2.95, 1.0),
    "v4a": (0.00373, 2.93, 9.0),
}
PERPLEXITY = {"v0": 21.76, "v1": 21.72, "v2": 21.73, "v3": 779.90, "v4": 782.94, "v3a": 116.88, "v4a": 116.92}
PHASES = {  # at T = 512, in ms: embedding, attention, MLP, head, other
    "v0": (6.6, 1018.7, 1181.2, 84.0, 388.4),
    "v1": (5.7, 970.6, 588.5, 82.8, 671.1),
    "v2": (6.0, 2791.0, 638.0, 83.0, 688.0),
    "v3": (6.0, 859.0, 591.0, 83.0, 669.0),
    "v4": (6.0, 2031.0, 632.0, 83.0, 658.0),
    "v3a": (6.0, 861.0, 592.0, 83.0, 669.0),
    "v4a": (6.0, 2033.0, 633.0, 83.0, 658.0),
}
NAMES = ("embedding", "attention", "mlp", "head", "other")
MODEL, DTYPE, GPU, MEMORY = "gpt2-medium", "bfloat16", "an imagined GPU", 48_000_000_000
DEVICE = {"kind": "cuda", "name": GPU, "torch": "2.11", "driver": "580.1"}
TRANSIENT = 9_000_000


def timed(name, seconds, samples=10, spread=0.02):
    """A metric with rounds of one pass around ``seconds``, and the interval that holds them."""
    rounds = [seconds * (1 + spread * (2 * place / (samples - 1) - 1)) for place in range(samples)]
    return metric(name, seconds, interval=(rounds[0], rounds[-1]), samples=rounds)


def total(variant, length):
    """Seconds for ``length`` tokens."""
    a, b, c = CURVES[variant]
    return 1e-3 * (a * length**2 + b * length + c)


def entries(variants=tuple(CURVES), lengths=LENGTHS, batches=(1,)):
    """(family, variant, workload, metrics) of each case."""
    config = GPTConfig.preset(MODEL)
    shape = {field: getattr(config, field) for field in ("n_layer", "n_head", "n_embd", "block_size")}
    common = {"model": MODEL, "weights": "pretrained", "device": "cuda", "dtype": DTYPE, **shape}
    yield "floor", "device", common, {name: metric(name, value) for name, value in ROOF.items()}
    for variant in variants:
        recipe = Variant.parse(variant)
        weights = costs.weights_bytes(GPTConfig.preset(MODEL, sharing=recipe.sharing), DTYPE)
        for batch in batches:
            for length in lengths:
                sized = common | {"batch_size": batch, "prompt": 1, "new_tokens": length, "max_length": length}
                yield "latency", variant, sized, latency(variant, length, batch)
                cache = costs.cache_bytes(config, recipe, batch, length, DTYPE)
                yield "memory", variant, sized, memory(weights, cache, batch)
            for length in PHASED:
                sized = common | {"batch_size": batch, "prompt": 1, "new_tokens": length, "max_length": length}
                yield "phases", variant, sized, phases(variant, length)
        yield (
            "capacity",
            variant,
            common | {"mode": "inference", "context": 512, "max_length": 512, "memory_budget": MEMORY},
            capacity(config, recipe, weights),
        )
        for mode, tokens in (("teacher_forced", 287_643), ("autoregressive", 4096)):
            scored = common | {"mode": mode, "scored_tokens": tokens, "corpus": "wikitext-2", "corpus_sha256": "0" * 64}
            yield "perplexity", variant, scored, quality(variant)


ROOF = {"read_bandwidth": 768e9, "copy_bandwidth": 384e9, "matmul_rate": 1.5e14}


def latency(variant, length, batch):
    seconds = total(variant, length)
    return {
        "total_latency": timed("total_latency", seconds),
        "per_token_latency": timed("per_token_latency", seconds / length),
        "throughput": metric("throughput", batch * length / seconds),
    }


def memory(weights, cache, batch):
    figures = {
        "weights_bytes": weights,
        "cache_bytes": cache,
        "cache_bytes_formula": cache,
        "transient_bytes": batch * TRANSIENT,
        "steady_memory": weights + cache,
        "peak_memory": weights + cache + batch * TRANSIENT,
    }
    return {name: metric(name, value) for name, value in figures.items()}


def phases(variant, length):
    seconds = [1e-3 * value * length / 512 for value in PHASES[variant]]
    figures = {f"phase_{name}": value for name, value in zip(NAMES, seconds, strict=True)}
    figures |= {"phase_sum": sum(seconds), "total_latency": sum(seconds), "per_token_latency": sum(seconds) / length}
    return {name: metric(name, value) for name, value in figures.items()}


def capacity(config, recipe, weights):
    need = transients.serving(config, recipe, DTYPE, 512, 128)
    most = need.predicted(MEMORY)
    figures = {"max_batch": most, "max_batch_predicted": most, "weights_bytes": weights}
    made = {name: metric(name, value) for name, value in figures.items()}
    return made | {"peak_memory": metric("peak_memory", need.fixed + most * need.peak)}


def quality(variant):
    value, reference = PERPLEXITY[variant], PERPLEXITY["v1"]
    change = value / reference - 1
    return {
        "perplexity": metric("perplexity", value, interval=(0.98 * value, 1.02 * value)),
        "nll": metric("nll", log(value)),
        "perplexity_change": metric("perplexity_change", change, interval=(change - 1e-4, change + 1e-4)),
    }


def document(**options):
    """The results file as pytest-benchmark writes one."""
    made = [
        record.record(family, variant, ALIASES.get(variant, variant), *rest)
        for family, variant, *rest in entries(**options)
    ]
    stats = {
        "median": 1.0,
        "min": 1.0,
        "max": 1.0,
        "mean": 1.0,
        "stddev": 0.0,
        "rounds": 1,
        "iterations": 1,
        "data": [1.0],
    }
    return {
        "machine_info": {"kvgpt": {"device": DEVICE}},
        "commit_info": {"id": "0" * 40, "dirty": False, "branch": "main"},
        "benchmarks": [
            {
                "fullname": f"benchmarks/bench_{one['family']}.py::bench_{one['family']}[{one['variant']}-{number}]",
                "name": f"bench_{one['family']}[{one['variant']}-{number}]",
                "group": one["family"],
                "params": {},
                "stats": stats,
                "extra_info": {"kvgpt": one},
            }
            for number, one in enumerate(made)
        ],
        "datetime": "2026-01-01T00:00:00+00:00",
        "version": "5.3.1",
    }


def results(**options):
    """The same, as read back."""
    cases = []
    for family, variant, workload, metrics in entries(**options):
        one = record.record(family, variant, ALIASES.get(variant, variant), workload, metrics)
        name = f"{family} {variant} {workload.get('new_tokens', workload.get('mode', ''))}"
        fields = (one["canonical"], recorded.Workload(workload, name), one["metrics"], True, (), {})
        cases.append(recorded.Case(name, family, variant, *fields))
    return recorded.Results(Path("synthetic.json"), DEVICE, tuple(cases))


def write(path, **options):
    path.write_text(json.dumps(document(**options)))
    return path
