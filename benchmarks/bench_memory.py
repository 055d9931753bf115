"""Memory: the bytes that a cache holds for T tokens, by formula and by its storages, and the peak of the longest step.

A generation of T tokens peaks in its last step, when the context is longest; that step alone is watched. Every byte is
the allocator's: the weights, what the cache holds before the step, and the most that the step adds to it.
"""

from kvgpt.costs import cache_bytes
from kvgpt.measure.memory import allocation
from kvgpt.recipes import Variant
from kvgpt.record import metric
from kvgpt.storages import distinct_bytes, tensors_of

BLOCK = {"cpu": 0, "cuda": 512}  # bytes by which an allocator may round each tensor up


def bench_memory(benchmark, case, engine_of, prompt, settings, variant, batch_size, new_tokens):
    case.begin("memory", batch_size=batch_size, prompt=1, new_tokens=new_tokens, max_length=new_tokens)
    engine = engine_of(variant, batch_size, new_tokens)
    benchmark.group = f"memory B={batch_size} T={new_tokens}"
    built = allocation(lambda: engine.recipe.cache(engine.cache.shape), settings.device)
    fresh = engine.cache.nbytes
    if new_tokens > 1:
        engine.prefill(prompt.expand(-1, new_tokens - 1))
    before = engine.cache.nbytes
    step = benchmark.pedantic(allocation, args=(lambda: engine.decode(prompt), settings.device), rounds=1)

    held, storages = engine.cache.nbytes, tensors_of(engine.cache)
    counted = distinct_bytes(storages) - engine.cache.position.nbytes
    assert held == counted, f"the cache says {held} bytes, its storages hold {counted}"
    slack = BLOCK[settings.device] * len(storages)
    grown = built.kept - engine.cache.position.nbytes - fresh
    assert 0 <= grown <= slack, f"the allocator gave {built.kept} bytes to a cache that says {fresh}"

    transient = step.peak - (held - before)
    metrics = {
        "weights_bytes": metric("weights_bytes", engine.model.nbytes),
        "cache_bytes": metric("cache_bytes", held),
        "transient_bytes": metric("transient_bytes", transient),
        "peak_memory": metric("peak_memory", engine.model.nbytes + before + step.peak),
    }
    notes = []
    if variant not in settings.caches:
        formula = cache_bytes(engine.model.config, Variant.parse(variant), batch_size, new_tokens, settings.dtype)
        metrics["cache_bytes_formula"] = metric("cache_bytes_formula", formula, kind="modelled")
        if formula != held:
            notes.append(f"the cache holds {held} bytes, the closed form says {formula}")
    case.end(metrics, notes)
    assert not notes, notes[0]
