"""Memory: the bytes that a cache holds for T tokens, by formula and by its storages, and what serving them takes.

A prompt of T - 1 tokens is fed at once, and one more is decoded, in whose step the context is longest. Apart from each
other, all by the device's allocator: ``prefill_peak``, weights, cache and the most that feeding the prompt adds;
``steady_memory``, all that is kept between two steps; ``peak_memory``, weights, what the cache holds before the last
step and the most that the step adds: the decode's peak alone, by which variants are compared; ``transient_bytes``, that
step's own part of it.

Where ranks share a model out, all bytes are those of one rank: its heads of the cache, its share of the weights, the
embeddings and norms that all of them have.

On a GPU, ``device_memory`` is what the driver says of the whole device after that step. On a CPU, ``resident_memory``
and ``resident_peak`` come from a fresh process, started for the longest T of the run only, and not for ranks: a process
of its own is none of them.
"""

import pytest
import torch

from kvgpt.costs import cache_bytes
from kvgpt.measure import resident
from kvgpt.measure.memory import allocation, empty_reserve, in_use
from kvgpt.recipes import Variant
from kvgpt.record import metric
from kvgpt.storages import distinct_bytes, tensors_of

BLOCK = {"cpu": 0, "cuda": 512}  # bytes by which an allocator may round each tensor up


@pytest.fixture
def used(settings):
    """``used()``: bytes in use on the device, by anybody, as its driver says; None where none does."""
    return lambda: in_use(settings.device)


def bench_memory(benchmark, case, engine_of, model, prompt, settings, used, variant, batch_size, new_tokens):
    case.begin("memory", batch_size=batch_size, prompt=1, new_tokens=new_tokens, max_length=new_tokens)
    empty_reserve(settings.device)
    engine_of(variant, batch_size, new_tokens).prefill(prompt)  # what libraries allocate once and keep, before all else
    engine = engine_of(variant, batch_size, new_tokens)
    benchmark.group = f"memory B={batch_size} T={new_tokens}"
    built = allocation(lambda: engine.recipe.cache(engine.cache.shape), settings.device)
    fresh = engine.cache.nbytes
    fed = None
    if new_tokens > 1:
        fed = allocation(lambda: _drop(engine.prefill(prompt.expand(-1, new_tokens - 1))), settings.device)
    before = engine.cache.nbytes
    step = benchmark.pedantic(allocation, args=(lambda: _drop(engine.decode(prompt)), settings.device), rounds=1)

    held, storages, weights = engine.cache.nbytes, tensors_of(engine.cache), engine.model.nbytes
    counted = distinct_bytes(storages) - engine.cache.position.nbytes
    assert held == counted, f"the cache says {held} bytes, its storages hold {counted}"
    slack = BLOCK[settings.device] * len(storages)
    grown = built.kept - engine.cache.position.nbytes - fresh
    assert 0 <= grown <= slack, f"the allocator gave {built.kept} bytes to a cache that says {fresh}"

    metrics = {
        "weights_bytes": metric("weights_bytes", weights),
        "cache_bytes": metric("cache_bytes", held),
        "steady_memory": metric("steady_memory", weights + built.kept + (fed.kept if fed else 0) + step.kept),
        "transient_bytes": metric("transient_bytes", step.peak - (held - before)),
        "peak_memory": metric("peak_memory", weights + before + step.peak),
    }
    if fed:
        metrics["prefill_peak"] = metric("prefill_peak", weights + fresh + fed.peak)
    by_driver, doubts = used(), []
    if by_driver is not None:
        metrics["device_memory"] = metric("device_memory", by_driver)
    alone = settings.device == "cpu" and settings.tensor_parallel == 1  # a fresh process has no rank
    if alone and not benchmark.disabled and new_tokens == _longest(settings, model):
        figures = resident.measure(_serving(settings, variant, batch_size, new_tokens))
        metrics |= {name: metric(name, value) for name, value in figures.items()}
        doubts = resident.doubts(figures, weights + held)
    wrong = []
    if variant not in settings.caches:
        whole = cache_bytes(engine.model.config, Variant.parse(variant), batch_size, new_tokens, settings.dtype)
        formula = whole // settings.tensor_parallel
        metrics["cache_bytes_formula"] = metric("cache_bytes_formula", formula, kind="modelled")
        if formula != held:
            wrong.append(f"the cache holds {held} bytes, the closed form says {formula}")
    details = {"bytes_of": f"one of {settings.tensor_parallel} ranks"} if settings.tensor_parallel > 1 else None
    case.end(metrics, [*wrong, *doubts], details)
    assert not wrong, wrong[0]


def _drop(logits):
    """Nothing: what a step returns is no part of what is kept between two."""


def _longest(settings, model):
    """The greatest T of the run that this model has positions for."""
    most = model.config.n_position
    return max(length for length in settings.lengths if most is None or length <= most)


def _serving(settings, variant, batch_size, new_tokens):
    return resident.Serving(
        model=settings.model,
        weights=settings.weights,
        dtype=settings.dtype,
        variant=variant,
        batch_size=batch_size,
        new_tokens=new_tokens,
        threads=torch.get_num_threads(),
        plug_in=variant in settings.caches,
    )
