"""Results of the roofline family that are made up: a device of 100 GB/s and 1 TFLOP/s, and its points under that."""

from pathlib import Path

from kvgpt import record, recorded
from kvgpt.record import metric

READ = {2**20: 400e9, 2**22: 390e9, 2**26: 100e9, 2**28: 99e9}
PEAKS = {"float32": 1e12, "bfloat16": 4e12}
WORKING_SET = 2**27  # of what memory bounds
COMMON = {"model": "nano", "weights": "shipped", "device": "cpu", "n_layer": 4}
INTENSITY = {"prefill": 100.0, "decode": 0.5}
REACHED = {"prefill": 0.5, "decode": 0.8}  # of the roof
OPERATORS = ("linear", "scaled_dot_product_attention", "add", "view", "copy_")


def case(variant, workload, metrics, details, notes=()):
    made = record.record("roofline", variant, variant, workload, metrics, notes, details)
    name = f"{variant} {workload.get('phase', workload.get('dtype'))} {workload.get('batch_size', '')}"
    fields = (recorded.Workload(workload, name), made["metrics"], not notes, tuple(notes), details)
    return recorded.Case(name, "roofline", variant, variant, *fields)


def ceilings():
    for dtype, rate in PEAKS.items():
        figures = {"matmul_rate": rate, "read_bandwidth": READ[2**28], "copy_bandwidth": 5e10}
        metrics = {name: metric(name, value) for name, value in figures.items()}
        details = {"read": {str(size): rate for size, rate in READ.items()}}
        yield case("device", {**COMMON, "dtype": dtype, "probe": "matmul_rate"}, metrics, details)


def trace(layers=4):
    """A step of 100 µs: each layer 5 operators of 4 µs with gaps of 1 µs after each, the last layer's copies of 9."""
    spans = [(place % 5, 1000 * (5 * place), 4000) for place in range(5 * layers)]
    operators = [
        {"name": name, "count": layers, "seconds": 4e-6 * layers, "floor": 1e-6, "above": 4e-6 * layers - 1e-6 * place}
        for place, name in enumerate(OPERATORS)
    ]
    return {
        "seconds": 100e-6,
        "gaps": 20e-6,
        "longest_gap": 1e-6,
        "operators": operators,
        "names": list(OPERATORS),
        "spans": " ".join(":".join(map(str, span)) for span in spans),
    }


def points(variants=("v0", "v1", "v2"), phases=("prefill", "decode"), batches=(1,), notes=(), dtype="float32"):
    for variant in variants:
        for phase in phases:
            for batch in batches:
                intensity = INTENSITY[phase] * batch
                reached = REACHED[phase] * min(1e12, 100e9 * intensity)
                time = {"prefill": "time_to_first_token", "decode": "per_token_latency"}[phase]
                floor, share = {
                    "prefill": ("time_to_first_token_floor", "time_to_first_token_fraction"),
                    "decode": ("floor", "fraction_of_floor"),
                }[phase]
                seconds = 1e9 * intensity / reached
                figures = {time: seconds, floor: REACHED[phase] * seconds, share: REACHED[phase]}
                figures |= {"flops": 1e9 * intensity, "dram_bytes": 1e9, "achieved_flops": reached}
                figures |= {"arithmetic_intensity": intensity}
                details = {"working_set": WORKING_SET}
                if phase == "decode":
                    figures["kernels_per_token"] = 20
                    details["trace"] = trace()
                workload = {**COMMON, "dtype": dtype, "phase": phase, "batch_size": batch, "context": 256}
                metrics = {name: metric(name, value) for name, value in figures.items()}
                yield case(variant, workload, metrics, details, notes)


def results(*cases, **options):
    every = cases or (*ceilings(), *points(**options))
    return recorded.Results(Path("roofline.json"), {"kind": "cpu"}, tuple(every))
