"""Capacity: how many sequences fit into a memory, predicted by closed form, found by search, confirmed at the edge.

Inference builds the cache for exactly T tokens, fills it, feeds the last chunk of a prompt and decodes one token: all
of it must fit. Training makes one step of the model alone. On a GPU the memory is the device's, on a CPU a stated
budget which by default holds few sequences, the same for all variants. How fast the largest batch is stands beside it.
"""

from kvgpt import registry, transients
from kvgpt.costs import training_step, weights_bytes
from kvgpt.measure import loads
from kvgpt.measure.attempt import DeviceMemory, HostMemory, attempt, quick_collections
from kvgpt.measure.capacity import LIMIT, search
from kvgpt.measure.floors import Claim, work
from kvgpt.recipes import REFERENCE, Variant
from kvgpt.record import metric

ALONE = "capacity is searched for by what one process can allocate, and ranks that disagree cannot go on together"
LONGEST = 512  # tokens of a sequence, where the model's context allows
SERVED, TRAINED = 1, 1  # sequences of the reference variant that a CPU's budget holds at least
LEAST = 32_000_000  # bytes of a CPU's budget, so that a small model's capacities lie apart


def left_out(item, chosen, model):
    """A training step has no cache: each model once. Codes have no gradients."""
    variant = item.callspec.params["variant"]
    if item.originalname != "bench_training":
        return None
    if model.coded:
        return f"weights {chosen.weights} are codes, which have no gradients: nothing trains them"
    first = next(name for name in (*chosen.variants, *chosen.caches) if _model(name, chosen) == _model(variant, chosen))
    return None if first == variant else f"the model of {variant} is that of {first}: only their caches differ"


def bench_inference(benchmark, case, time_of, engine_of, bill_of, model, settings, variant):
    context = min(LONGEST, model.config.block_size)
    usual = _serving(model, REFERENCE, settings, context)
    need = None if variant in settings.caches else _serving(model, variant, settings, context)
    memory = _memory(settings, usual.room(SERVED))
    case.begin("capacity", mode="inference", context=context, max_length=context, memory_budget=memory.budget)
    benchmark.group = f"capacity inference T={context}"

    def build(batch):
        return engine_of(variant, batch, context)

    served = build(1).model  # shared or aligned now, so that no probe pays for it
    load = loads.serving(build, context)
    found, metrics = _find(load, memory, served.nbytes, need, start=(need or usual).predicted(memory.budget))
    metrics["weights_bytes"] = metric("weights_bytes", served.nbytes)
    claims = []
    if not found.max_batch:
        benchmark.pedantic(attempt, args=(load, 1, memory, served.nbytes), rounds=1)
    else:
        engine = build(found.max_batch)
        timed = time_of(lambda: loads.last_step(engine, context), setup=lambda: loads.before_last_step(engine, context))
        assert engine.length == context, f"the step was timed at {engine.length} tokens"
        metrics["cache_bytes"] = metric("cache_bytes", engine.cache.nbytes)
        if timed:
            bill = bill_of(found.max_batch)
            step = bill.step(held=context - 1)
            metrics |= {"per_token_latency": timed.time("per_token_latency"), **work([step], timed.median)}
            metrics["throughput"] = timed.rate("throughput", found.max_batch)
            claims = [Claim("per_token_latency", [step], bill.working_set(context))]
    case.end(metrics, _notes(found), _details(found), claims)


def bench_training(benchmark, case, time_of, engine_of, model, settings, variant):
    context = min(LONGEST, model.config.block_size)
    trained = engine_of(variant, 1, context).model
    need = transients.training(trained.config, settings.dtype, context)
    usual = transients.training(model.config, settings.dtype, context)
    memory = _memory(settings, usual.room(TRAINED))
    case.begin("capacity", mode="training", context=context, memory_budget=memory.budget)
    benchmark.group = f"capacity training T={context}"
    load = loads.training(trained, context)
    found, metrics = _find(load, memory, 0, need, start=need.predicted(memory.budget))
    metrics["weights_bytes"] = metric("weights_bytes", trained.nbytes)
    claims = []
    if not found.max_batch:
        benchmark.pedantic(attempt, args=(load, 1, memory, 0), rounds=1)
    else:
        copy = loads.Training(trained)
        ids = copy.tokens(found.max_batch, context)
        timed = time_of(lambda: copy.step(ids))
        if timed:
            step = training_step(trained.config, settings.dtype, found.max_batch, context)
            claims = [Claim("total_latency", [step], weights_bytes(trained.config, settings.dtype))]
            metrics["total_latency"] = timed.time("total_latency")
            metrics["throughput"] = timed.rate("throughput", found.max_batch * context)
    case.end(metrics, _notes(found), _details(found), claims)


def _model(variant, chosen):
    """The sharing and the alignment that a variant gives its model."""
    if variant in chosen.caches:
        return registry.plug_in(variant)[1], None
    recipe = Variant.parse(variant)
    return recipe.sharing, recipe.align


def _serving(model, variant, settings, context):
    chunk = transients.last_chunk(context)
    return transients.serving(model.config, Variant.parse(variant), settings.dtype, context, chunk, model.coded)


def _memory(settings, usual):
    """What a load must fit into; ``usual`` bytes or a few more on a CPU where none were named."""
    if settings.device == "cuda":
        return DeviceMemory(settings.memory_budget)
    return HostMemory(settings.memory_budget or max(LEAST, usual))


def _find(load, memory, held, need, start):
    """The search from ``start``, and its figures beside those of the closed form, where there is one.

    It goes one past what there is room for at most, so that a count of bytes that is too low is found out.
    """
    bound = need.bound(memory.budget) if need else None
    limit = LIMIT if bound is None else bound + 1
    with quick_collections():
        found = search(lambda batch: attempt(load, batch, memory, held), start, limit)
    assert bound is None or found.interval[1] <= bound, f"{found.interval[1]} fitted where there is room for {bound}"
    metrics = {"max_batch": metric("max_batch", found.max_batch, interval=found.interval)}
    if found.peak is not None:
        metrics["peak_memory"] = metric("peak_memory", found.peak)
    if need:
        predicted = need.predicted(memory.budget)
        metrics["max_batch_predicted"] = metric("max_batch_predicted", predicted, kind="modelled")
    if bound is not None:
        metrics["bytes_per_sequence"] = metric("bytes_per_sequence", need.held, kind="modelled")
    return found, metrics


def _notes(found):
    return [found.outcome] if found.at_limit else []


def _details(found):
    """The log of the search: of each probe the batch, 1 where it fitted, and its peak where that is known."""
    probes = [[probe.batch, int(probe.fitted), probe.peak] for probe in found.probes]
    known = [[one for one in probe if one is not None] for probe in probes]
    return {"outcome": found.outcome, "probes": known, "confirmed": list(found.confirmed)}
