"""Limits: by how much a metric may get worse before a gate says so, which metrics are held to one, and for which cases.

``per_token_latency:5%``, ``peak_memory:2%+1MiB``, ``perplexity:0.5%``, ``cache_bytes:0``; ``max_batch:-2%``, as what
is better higher may fall. One for some cases alone names them, with ``*`` for any text:
``per_token_latency[bench_decode*v2*]:10%``. Of several limits that fit a case the last counts.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kvgpt.record import METRICS
from kvgpt.recorded import Case

FORM = re.compile(r"(?P<metric>\w+)(\[(?P<cases>.*)\])?:(?P<allowed>[^:\]]+)")
PART = re.compile(r"(?P<number>\d+(\.\d+)?([eE][+-]?\d+)?)\s*(?P<unit>[%A-Za-zµ]*)")
UNITS = {
    "B": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
}
WAYS = "such as per_token_latency:5%, peak_memory:2%+1MiB or max_batch:-2%"


@dataclass(frozen=True)
class Limit:
    """``relative`` of the base's value and ``absolute`` on top, in the metric's SI unit, for the cases whose names
    match ``cases``.
    """

    metric: str
    relative: float = 0.0
    absolute: float = 0.0
    cases: str = "*"

    def fits(self, case: Case) -> bool:
        return re.fullmatch(re.escape(self.cases).replace(r"\*", ".*"), case.name) is not None

    def allowed(self, base: float) -> float:
        """By how much the metric may differ from ``base``."""
        return self.relative * abs(base) + self.absolute

    def __str__(self) -> str:
        shown = [f"{100 * self.relative:g}%"] if self.relative else []
        if self.absolute:
            unit = METRICS[self.metric][0]
            shown.append(f"{self.absolute:g}{'' if unit == '1' else f' {unit}'}")
        return " + ".join(shown) or "exact"


USUAL = (
    *(Limit(name, relative=0.05) for name in ("total_latency", "per_token_latency", "time_to_first_token")),
    *(
        Limit(name)
        for name in ("weights_bytes", "cache_bytes", "steady_memory", "prefill_peak", "transient_bytes", "peak_memory")
    ),
    Limit("max_batch"),
    *(Limit(name, relative=0.005) for name in ("perplexity", "perplexity_at_end")),
)
SAID_BY = {"total_latency": "per_token_latency"}  # a metric that is another one times a constant of the case
ALONE = "max_batch"  # a case that has it measures all else at that batch, so that nothing else is comparable


def parse(text: str) -> Limit:
    """A limit as it is written on a command line; ValueError says what is wrong with it."""
    found = FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"limit {text!r}: expected METRIC:LIMIT or METRIC[CASES]:LIMIT, {WAYS}")
    metric, cases = found["metric"], found["cases"]
    if metric not in METRICS:
        raise ValueError(f"limit {text!r}: unknown metric {metric!r}: known: {', '.join(METRICS)}")
    unit, better = METRICS[metric]
    relative = absolute = 0.0
    allowed = found["allowed"].strip()
    if allowed.startswith("-") and better == "lower":
        raise ValueError(f"limit {text!r}: {metric} is better lower: name by how much it may rise, {allowed[1:]}")
    for part in allowed.lstrip("+-").split("+"):
        amount = PART.fullmatch(part.strip())
        if amount is None:
            raise ValueError(f"limit {text!r}: {part.strip()!r} is no amount: {WAYS}")
        number, of = float(amount["number"]), amount["unit"]
        scale = 0.01 if of == "%" else UNITS.get(unit, {}).get(of, math.nan) if of else 1.0
        if not math.isfinite(number * scale):
            known = ", ".join(["%", *UNITS.get(unit, {})])
            raise ValueError(f"limit {text!r}: {part.strip()!r}: known units of {metric}: {known}")
        if of == "%":
            relative += number * scale
        else:
            absolute += number * scale
    return Limit(metric, relative, absolute, f"*{cases}*" if cases else "*")


def held_to(case: Case, given: Sequence[Limit]) -> list[Limit]:
    """The limits that a case is held to, one a metric: of those given the last that fits, else the usual one.

    What is named for a case is looked at in it whatever it is; unnamed, a metric is left out that another says already.
    """
    named = {limit.metric: limit for limit in given if limit.fits(case)}
    usual = {limit.metric: limit for limit in USUAL}
    if ALONE in case.metrics:
        usual = {ALONE: usual[ALONE]}
    for metric, other in SAID_BY.items():
        if other in case.metrics:
            usual.pop(metric, None)
    return [limit for name, limit in (usual | named).items() if name in case.metrics]
