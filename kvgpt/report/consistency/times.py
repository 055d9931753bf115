"""Rules of time: a time is no less than its floor, and the parts of a time are the whole."""

from collections.abc import Iterator

from kvgpt.plain import quantity
from kvgpt.recorded import Case, Results
from kvgpt.report.consistency.finding import SLACK, Finding, invalid, judged, size

FLOORS = {
    "per_token_latency": "floor",
    "time_to_first_token": "time_to_first_token_floor",
    "total_latency": "total_latency_floor",
}
PHASES = ("phase_embedding", "phase_attention", "phase_mlp", "phase_head", "phase_other")


def no_time_is_under_its_floor(results: Results) -> Iterator[Finding]:
    """Nothing is faster than its bytes and operations allow, at the bandwidth of a working set of its size."""
    for case in results.cases:
        excuse = invalid(case)
        for name, floor in FLOORS.items():
            time, least = case.value(name), case.value(floor)
            if time is not None and least is not None:
                sentence = f"{name} of {quantity(time, 's')} is below its floor of {quantity(least, 's')}"
                yield judged(least <= (1 + SLACK) * time, sentence, case, excuse=excuse)
        fraction = case.value("fraction_of_floor")
        if fraction is not None:
            sentence = f"{fraction:.4g} of its floor were reached: more than 1 is faster than the device"
            yield judged(fraction <= 1 + SLACK, sentence, case, excuse=excuse)


def total_is_all_tokens(results: Results) -> Iterator[Finding]:
    """The total is the time of one token, T times."""
    for case in results.cases:
        total, each, tokens = case.value("total_latency"), case.value("per_token_latency"), size(case, "new_tokens")
        if total is not None and each is not None and tokens is not None:
            sentence = f"{tokens} tokens of {quantity(each, 's')} are not {quantity(total, 's')} in total"
            yield judged(_near(tokens * each, total), sentence, case)


def rate_is_tokens_over_time(results: Results) -> Iterator[Finding]:
    """Throughput is all rows' tokens over the total."""
    for case in results.cases:
        total, rate = case.value("total_latency"), case.value("throughput")
        tokens, rows = size(case, "new_tokens"), size(case, "batch_size")
        if total is not None and rate is not None and tokens is not None and rows is not None:
            sentence = f"{rows} x {tokens} tokens in {quantity(total, 's')} are not {quantity(rate, 'token/s')}"
            yield judged(_near(rate * total, rows * tokens), sentence, case)


def phases_make_the_whole(results: Results) -> Iterator[Finding]:
    """No phase is negative, and their sum is the total: of the same record, else of the latency case beside it."""
    for case in results.of("phases", "phase_attention"):
        parts = {name: value for name in PHASES if (value := case.value(name)) is not None}
        for name, value in parts.items():
            yield judged(value >= 0, f"{name} of {quantity(value, 's')}", case, excuse=invalid(case))
        stated, added = case.value("phase_sum"), sum(parts.values())
        beside = case if "total_latency" in case.metrics else _beside(results, case)
        whole = None if beside is None else beside.value("total_latency")
        if stated is not None:
            sentence = f"phases of {quantity(added, 's')} together, in a record that says {quantity(stated, 's')}"
            yield judged(_near(added, stated), sentence, case)
        if beside is not None and whole is not None:
            whole_sum = added if stated is None else stated
            share = f"{whole_sum / whole:.0%} of " if whole > 0 else ""
            sentence = f"phases add up to {quantity(whole_sum, 's')}, {share}the {quantity(whole, 's')} in total"
            cases = (case,) if beside is case else (case, beside)
            yield judged(_near(whole_sum, whole), sentence, *cases, excuse=invalid(*cases))


def _near(value: float, right: float) -> bool:
    return abs(value - right) <= SLACK * abs(right)


def _beside(results: Results, case: Case) -> Case | None:
    """The latency case of the same variant, in all that both workloads state."""
    for other in results.of("latency", "total_latency"):
        common = case.workload.keys() & other.workload.keys()
        alike = all(case.workload[name] == other.workload[name] for name in common - {"warmup", "rounds"})
        if other.variant == case.variant and "new_tokens" in common and alike:
            return other
    return None
