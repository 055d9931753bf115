"""The figures of all variants in one JSON object, in the structure that the original research published.

At its top are the figures of the first model at its smallest batch size. Those of every other batch size and model have
the same structure, under ``others`` and their title. What belongs to no batch size stands with the smallest.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from kvgpt.recorded import Case, Results
from kvgpt.report import fits
from kvgpt.report.select import after_one_token, axis, by_variant, models, pick
from kvgpt.report.tables.capacity import by_load
from kvgpt.report.tables.perplexity import by_text

MILLI, MEGA = 1e-3, 1e6
Names = Mapping[str, tuple[str, float]]  # key -> the metric and the unit that it is written in
LATENCY: Names = {"total_ms": ("total_latency", MILLI), "per_token_ms": ("per_token_latency", MILLI)}
MEMORY: Names = {"peak_MB": ("peak_memory", MEGA), "cache_MB": ("cache_bytes", MEGA)}
PHASES: Names = {
    f"{name}_ms": (metric, MILLI)
    for name, metric in (
        *((part, f"phase_{part}") for part in ("embedding", "attention", "mlp", "head", "other", "sum")),
        ("total", "total_latency"),
    )
}
CAPACITY: Names = {
    "max_batch": ("max_batch", 1),
    "max_batch_predicted": ("max_batch_predicted", 1),
    "peak_MB": ("peak_memory", MEGA),
    "throughput_tokens_per_s": ("throughput", 1),
}
PERPLEXITY: Names = {
    "perplexity": ("perplexity", 1),
    "nll": ("nll", 1),
    "degradation_percent": ("perplexity_change", 0.01),
}
SIZED = {"latency": "total_latency", "memory": "peak_memory", "phases": "phase_attention"}
UNSIZED = {"capacity": "max_batch", "perplexity": "perplexity"}


def summary(results: Results) -> dict[str, Any]:
    """The object; empty where nothing of it was measured."""
    parts = dict(_parts(results))
    if not parts:
        return {}
    (title, first), *others = parts.items()
    made = {"device": dict(results.device), "subject": title, **first}
    return made | ({"others": dict(others)} if others else {})


def _parts(results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    """(title, structure) of each model and batch size, the smallest first."""
    measured = [case for family, metric in (SIZED | UNSIZED).items() for case in results.of(family, metric)]
    for title, cases in models(measured).items():
        sized = after_one_token(case for case in cases if case.family in SIZED)
        unsized = [case for case in cases if case.family in UNSIZED]
        for batch in axis(sized, "batch_size") or [None]:
            named = title if batch is None else f"{title}, B = {batch}"
            yield named, _structure(pick(sized, batch_size=batch) + unsized)
            unsized = []


def _structure(cases: list[Case]) -> dict[str, Any]:
    of = {family: [case for case in cases if case.family == family] for family in SIZED | UNSIZED}
    quadratic, linear = ("total_ms", 2), ("per_token_ms", 1)
    made = {
        "latency": _curves(of["latency"], LATENCY, {"fit_total_ms_vs_T": quadratic, "fit_per_token_ms_vs_T": linear}),
        "vram": _curves(of["memory"], MEMORY, {"fit_peak_MB_vs_T": ("peak_MB", 1)}),
        **{
            f"per_phase_T{length}": _first(pick(of["phases"], new_tokens=length), PHASES)
            for length in axis(of["phases"], "new_tokens")
        },
        "max_batch": {load: _first(alike, CAPACITY) for load, alike in by_load(of["capacity"]).items()},
        "perplexity": {text: _first(alike, PERPLEXITY) for text, alike in by_text(of["perplexity"]).items()},
    }
    return {name: part for name, part in made.items() if part}


def _curves(cases: list[Case], names: Names, fitted: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    """{variant: its points by T, and a polynomial of this degree through each of these figures}."""
    curves: dict[str, Any] = {}
    for variant, curve in by_variant(cases).items():
        once = {case.workload["new_tokens"]: case for case in reversed(curve)}
        points = [{"T": length, **_figures(once[length], names)} for length in sorted(once)]
        made = {name: _fit(points, key, degree) for name, (key, degree) in fitted.items()}
        curves[variant] = {"points": points} | {name: fit for name, fit in made.items() if fit}
    return curves


def _fit(points: list[dict[str, Any]], key: str, degree: int) -> dict[str, Any] | None:
    """Of the valid points; the coefficients from the highest power down. None where there are too few points."""
    sound = [(float(point["T"]), point[key]) for point in points if key in point and "not_valid" not in point]
    found = fits.fit([x for x, _ in sound], [y for _, y in sound], degree)
    if found is None:
        return None
    made: dict[str, Any] = {"coefficients": found.coefficients, "equation": found.equation, "residual": found.residual}
    return made if found.r_squared is None else {**made, "r_squared": found.r_squared}


def _first(cases: Iterable[Case], names: Names) -> dict[str, Any]:
    """{variant: the figures of its first case}."""
    made: dict[str, Any] = {}
    for case in cases:
        made.setdefault(case.variant, _figures(case, names))
    return made


def _figures(case: Case, names: Names) -> dict[str, Any]:
    """What a case measured, with its 95% interval, and why it is not valid where it is not."""
    made: dict[str, Any] = {}
    for key, (metric, unit) in names.items():
        value, interval = case.value(metric), case.interval(metric)
        if value is not None and isfinite(value / unit):
            made[key] = value / unit
            if interval is not None:
                made[f"{key}_interval"] = [end / unit for end in interval]
    return made if case.valid else {**made, "not_valid": list(case.notes)}
