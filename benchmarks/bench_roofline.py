"""Roofline: where each variant stands, feeding a prompt and decoding, under what this device did at best in this run.

A point is its closed forms over its measured time: how many operations a byte, and how many a second. The roof above it
is the smaller of two: the rate of matrix products, and the bandwidth at its working set times its operations a byte. So
a point above its roof by more than 3% is a time under its floor by as much, and not valid.
"""

import pytest

from kvgpt.measure import perf, trace
from kvgpt.measure.fill import stand_at
from kvgpt.measure.floors import Claim, work
from kvgpt.measure.roof import Roof, multiplying
from kvgpt.options import DTYPES
from kvgpt.record import metric

ALONE = "the roof is one device's: measure it in one process"
LENGTHS = (256, 1024)  # in place of the grid's: short contexts are all overhead


def pytest_generate_tests(metafunc):
    if "ceiling" in metafunc.fixturenames:
        metafunc.parametrize("ceiling", DTYPES)


@pytest.fixture(scope="session")
def uncounted(settings):
    """Why no bytes are counted in this run, or None; a GPU's own counters are read by `kvgpt roofline --ncu`."""
    return perf.why_not() if settings.device == "cpu" else "kvgpt roofline --ncu counts on a GPU"


def bench_ceiling(benchmark, case, time_of, floors, settings, ceiling):
    """The rate of products in each dtype, whichever the run has, and how fast blocks are read and copied."""
    probe = multiplying(settings.device, ceiling)
    case.begin("roofline", probe="matmul_rate", dtype=ceiling, working_set=probe.size)
    benchmark.group = "roofline ceilings"
    timed = time_of(probe.run)
    if timed and ceiling == settings.dtype:
        floors.roof.raise_to(Roof(flops=probe.amount / min(timed.seconds)))
    case.end({"matmul_rate": metric("matmul_rate", probe.amount / min(timed.seconds))} if timed else {})
    floors.show(benchmark.extra_info["kvgpt"])


def bench_roofline_prefill(
    benchmark, case, time_of, engine_of, bill_of, prompt, uncounted, variant, batch_size, context
):
    case.begin("roofline", phase="prefill", batch_size=batch_size, context=context, max_length=context)
    benchmark.group = f"roofline prefill B={batch_size} S={context}"
    engine, ids = engine_of(variant, batch_size, context), prompt.expand(-1, context)
    timed = time_of(lambda: engine.prefill(ids), setup=engine.reset)
    metrics, details, claims = {}, {}, []
    if timed:
        bill = bill_of(batch_size)
        step = bill.step(held=0, fed=context)
        counted, details = _counted(engine.reset, lambda: engine.prefill(ids), uncounted)
        metrics = {"time_to_first_token": timed.time("time_to_first_token"), **work([step], timed.median), **counted}
        claims = [Claim("time_to_first_token", [step], bill.working_set(context))]
    case.end(metrics, details=details, claims=claims)


def bench_roofline_decode(
    benchmark, case, time_of, engine_of, bill_of, floors, prompt, settings, uncounted, variant, batch_size, context
):
    case.begin("roofline", phase="decode", batch_size=batch_size, context=context, max_length=context)
    benchmark.group = f"roofline decode B={batch_size} S={context}"
    engine = engine_of(variant, batch_size, context)

    def ready():
        stand_at(engine, context - 1)

    def step():
        engine.decode(prompt)

    timed = time_of(step, setup=ready)
    metrics, details, claims = {}, {}, []
    if timed:
        bill = bill_of(batch_size)
        asked, working_set = bill.step(held=context - 1), bill.working_set(context)
        ran = trace.traced(step, settings.device, timed.median, ready)
        flops, bandwidth = floors.roof.flops, floors.roof.bandwidth(working_set)
        counted, details = _counted(ready, step, uncounted)
        metrics = {"per_token_latency": timed.time("per_token_latency"), **work([asked], timed.median), **counted}
        if ran.spans:  # none, where the profiler may not look at the device
            details["trace"] = trace.record_of(ran, lambda span: max(span.flops / flops, span.bytes / bandwidth))
            metrics["kernels_per_token"] = metric("kernels_per_token", len(ran.spans))
        claims = [Claim("per_token_latency", [asked], working_set)]
    case.end(metrics, details=details, claims=claims)


def _counted(setup, body, uncounted):
    """The bytes that the processor counts as ``body`` runs once more, or why it does not."""
    if uncounted:
        return {}, {"not_counted": uncounted}
    setup()
    return {"dram_bytes_counted": metric("dram_bytes_counted", perf.counted(body))}, {}
