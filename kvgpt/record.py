"""The record: what a benchmark case says of itself in ``extra_info["kvgpt"]``, checked when written and when read."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

SCHEMA = 1
FAMILIES = (
    "latency",
    "memory",
    "phases",
    "capacity",
    "perplexity",
    "attention",
    "floor",
    "decode",
    "roofline",
    "positions",
    "collectives",
    "sharing",
)
KINDS = ("measured", "modelled")
DIRECTIONS = ("lower", "higher")
UNITS = ("s", "B", "B/s", "token/s", "FLOP/s", "FLOP/B", "1")
# Of a workload: what cases are sorted by and counted in.
WHOLE = ("batch_size", "new_tokens", "scored_tokens", "tensor_parallel")
FIELDS = {
    "schema": int,
    "family": str,
    "variant": str,
    "canonical": str,
    "workload": dict,
    "metrics": dict,
    "validity": dict,
}

METRICS: dict[str, tuple[str, str]] = {  # name -> unit, which is better
    "total_latency": ("s", "lower"),
    "per_token_latency": ("s", "lower"),
    "time_to_first_token": ("s", "lower"),
    "host_latency": ("s", "lower"),  # of the same rounds as total_latency, by the host's clock, all work done
    "throughput": ("token/s", "higher"),
    "flops": ("1", "lower"),
    "dram_bytes": ("B", "lower"),
    "dram_bytes_counted": ("B", "lower"),  # by the processor, as lines that its last cache did not have
    "arithmetic_intensity": ("FLOP/B", "higher"),
    "achieved_flops": ("FLOP/s", "higher"),
    "achieved_bandwidth": ("B/s", "higher"),
    "fraction_of_bandwidth": ("1", "higher"),  # of what the probes of the same run read in a second
    "floor": ("s", "lower"),  # the least that per_token_latency can be
    "fraction_of_floor": ("1", "higher"),
    "time_to_first_token_floor": ("s", "lower"),
    "time_to_first_token_fraction": ("1", "higher"),
    "total_latency_floor": ("s", "lower"),
    "total_latency_fraction": ("1", "higher"),
    "read_bandwidth": ("B/s", "higher"),
    "copy_bandwidth": ("B/s", "higher"),
    "matmul_rate": ("FLOP/s", "higher"),
    "kernels_per_token": ("1", "lower"),  # of a decode step: what a GPU was asked to run, or torch on a CPU
    "wire_bandwidth": ("B/s", "higher"),  # bytes that a rank sends in a collective's ring, over its time
    "weights_bytes": ("B", "lower"),
    "cache_bytes": ("B", "lower"),
    "cache_bytes_formula": ("B", "lower"),
    "transient_bytes": ("B", "lower"),
    "prefill_peak": ("B", "lower"),  # weights, cache and the most that feeding the prompt allocates on top
    "steady_memory": ("B", "lower"),  # weights and cache between two steps
    "peak_memory": ("B", "lower"),
    "resident_memory": ("B", "lower"),  # that a fresh process grew by, from before the weights to the last token
    "resident_peak": ("B", "lower"),
    "device_memory": ("B", "lower"),  # that the driver says is in use, the allocator's reserve and the context included
    "max_batch": ("1", "higher"),
    "max_batch_predicted": ("1", "higher"),
    "bytes_per_sequence": ("B", "lower"),
    "phase_embedding": ("s", "lower"),
    "phase_attention": ("s", "lower"),
    "phase_mlp": ("s", "lower"),
    "phase_head": ("s", "lower"),
    "phase_other": ("s", "lower"),
    "phase_sum": ("s", "lower"),
    "hook_cost": ("s", "lower"),  # of one mark, taken off the phase that it was measured in
    "kl_divergence": ("1", "lower"),  # of the reference's next-token distribution from this one's, nats a token
    "top1_agreement": ("1", "higher"),
    "kv_error": ("1", "lower"),  # of stored vectors as read back, RMS, relative to theirs
    "kv_error_drift": ("1", "lower"),  # kv_error of the oldest tenth less that of the newest
    "perplexity": ("1", "lower"),
    "nll": ("1", "lower"),
    "nll_change": ("1", "lower"),  # less the reference's, paired token by token
    "weights_nll_change": ("1", "lower"),  # of the reference over int8 weights, less over those they were made from
    "weights_perplexity_change": ("1", "lower"),  # the same, relative
    "perplexity_change": ("1", "lower"),  # relative to the reference's
    "perplexity_at_end": ("1", "lower"),  # over the last quarter of a context before T
    "nll_at_end": ("1", "lower"),
    "latency_drift": ("1", "lower"),  # per-token latency of the stream's last tenth over that of its second
    "resident_growth": ("B", "lower"),  # of the process, from the stream's second tenth to its end
    "served_tokens": ("1", "higher"),  # scored from one token fed to a cache that held all before it
}


def metric(
    name: str,
    value: float,
    kind: str = "measured",
    interval: tuple[float, float] | None = None,
    stderr: float | None = None,
    samples: Sequence[float] = (),
) -> dict[str, Any]:
    """One figure, with its unit and direction from :data:`METRICS`. What is unknown is left out."""
    unit, better = METRICS[name]
    figure: dict[str, Any] = {"value": value, "unit": unit, "kind": kind, "better": better}
    if interval is not None:
        figure["interval"] = list(interval)
    if stderr is not None:
        figure["stderr"] = stderr
    if samples:
        figure["processes"] = [list(samples)]
    return figure


def record(
    family: str,
    variant: str,
    canonical: str,
    workload: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    notes: Iterable[str] = (),
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A record of this schema; ``notes`` say why it is not valid, ``details`` how its figures came about."""
    reasons = list(notes)
    made = {
        "schema": SCHEMA,
        "family": family,
        "variant": variant,
        "canonical": canonical,
        "workload": dict(workload),
        "metrics": {name: dict(figure) for name, figure in metrics.items()},
        "validity": {"ok": not reasons, "notes": reasons},
        **({"details": dict(details)} if details else {}),
    }
    check(made)
    return made


def check(made: Mapping[str, Any]) -> None:
    """ValueError where ``made`` is no record of this schema."""
    for name, kind in FIELDS.items():
        if not isinstance(made.get(name), kind):
            raise ValueError(f"record: {name}={made.get(name)!r}: expected {kind.__name__}")
    if made["schema"] != SCHEMA:
        raise ValueError(f"record: schema {made['schema']}: this version reads schema {SCHEMA}")
    if made["family"] not in FAMILIES:
        raise ValueError(f"record: family {made['family']!r}: known: {', '.join(FAMILIES)}")
    for name, value in made["workload"].items():
        if not isinstance(value, str | int | float | bool) or not _finite(value):
            raise ValueError(f"record: workload {name}={value!r}: expected a name or a finite number")
        if name in WHOLE and type(value) is not int:
            raise ValueError(f"record: workload {name}={value!r}: expected a whole number")
    for name, figure in made["metrics"].items():
        _check_figure(name, figure)
    if not isinstance(made["validity"].get("ok"), bool) or not isinstance(made["validity"].get("notes"), list):
        raise ValueError(f"record: validity {made['validity']!r}: expected ok and notes")
    details = made.get("details", {})
    if not isinstance(details, dict) or not all(map(_finite, _numbers(details))):
        raise ValueError(f"record: details {details!r}: expected an object of finite numbers and names")
    for name, sound in OF_PULSES.items():
        if name in details and not sound(details[name]):
            raise ValueError(f"record: details {name}={details[name]!r}: expected seconds by kind of work")


def _check_figure(name: str, figure: Any) -> None:
    if not isinstance(figure, dict):
        raise ValueError(f"record: metric {name}={figure!r}: expected an object")
    stray = [value for value in _numbers(figure) if not _finite(value)]
    if not _is_number(figure.get("value")) or stray:
        raise ValueError(f"record: metric {name}: {figure!r}: expected finite numbers; what is unknown is left out")
    for field, allowed in (("unit", UNITS), ("kind", KINDS), ("better", DIRECTIONS)):
        if figure.get(field) not in allowed:
            raise ValueError(f"record: metric {name}: {field}={figure.get(field)!r}: known: {', '.join(allowed)}")
    for field, sound in SPREADS.items():
        if field in figure and not sound(figure[field]):
            raise ValueError(f"record: metric {name}: {field}={figure[field]!r}: no numbers as a record has them")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any, inner: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(inner, value))


SPREADS: dict[str, Callable[[Any], bool]] = {  # what a figure may say of its spread, and whether it does
    "interval": lambda value: _is_list(value, _is_number) and len(value) == 2,
    "stderr": _is_number,
    "processes": lambda value: _is_list(value, lambda one: _is_list(one, _is_number)),
}


def _is_pulse(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(one) and one > 0 for one in value.values())


OF_PULSES: dict[str, Callable[[Any], bool]] = {"pulse": _is_pulse, "pulses": lambda value: _is_list(value, _is_pulse)}


def _numbers(value: Any) -> Iterable[float]:
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)
    elif not isinstance(value, str):
        yield value


def _finite(value: Any) -> bool:
    """False for NaN, infinities, and whole numbers beyond the largest float: JSON's have no end."""
    return not isinstance(value, int | float) or -sys.float_info.max <= value <= sys.float_info.max
