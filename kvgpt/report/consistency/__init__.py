"""Consistency: results that contradict themselves, their closed forms or the device are refused, each with a sentence.

A rule takes results and yields what it finds, so that adding a rule is one function and one line of :data:`RULES`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kvgpt.recorded import Results
from kvgpt.report.consistency import capacity, memory, origin, quality, times
from kvgpt.report.consistency.finding import Finding

__all__ = ["RULES", "Examination", "Violation", "baseline", "examine", "refuse", "violations"]

RULES: dict[str, Callable[[Results], Iterator[Finding]]] = {
    "cache bytes": memory.cache_is_its_closed_form,
    "weights bytes": memory.weights_are_their_closed_form,
    "additive memory": memory.peak_is_its_parts,
    "saving": memory.saving_is_within_the_cache,
    "capacity": capacity.fits_the_budget,
    "equal capacities": capacity.differs_where_caches_do,
    "floor": times.no_time_is_under_its_floor,
    "latency": times.total_is_all_tokens,
    "throughput": times.rate_is_tokens_over_time,
    "phases": times.phases_make_the_whole,
    "perplexity": quality.perplexity_is_exp_of_the_loss,
    "scored tokens": quality.something_was_scored,
    "intervals": quality.interval_holds_its_value,
    "cases": origin.each_case_is_there_once,
    "device": origin.each_case_has_one_device,
    "roof": origin.roof_is_of_the_device,
}
SHOWN = 3  # records that are not valid, in the message that refuses a baseline


@dataclass(frozen=True)
class Violation:
    """A rule that results break: in which cases, and with which figures."""

    rule: str
    cases: tuple[str, ...]
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence} ({', '.join(self.cases)})"


@dataclass(frozen=True)
class Examination:
    """What the rules make of results: what is broken, which rules had figures to compare, and what each let off."""

    violations: tuple[Violation, ...]
    applied: tuple[str, ...]
    excused: Mapping[str, tuple[Finding, ...]]


def examine(results: Results) -> Examination:
    """Hold results to every rule. ValueError where a workload means nothing, or figures are too large to compare."""
    try:
        found = {name: list(rule(results)) for name, rule in RULES.items()}
    except OverflowError as error:
        raise ValueError(f"{results.path}: figures beyond what can be compared: {error}") from error
    broken = [
        Violation(name, one.cases, one.sentence)
        for name, findings in found.items()
        for one in findings
        if one.outcome == "broken"
    ]
    applied = [name for name, findings in found.items() if any(one.outcome != "excused" for one in findings)]
    let_off = {name: tuple(one for one in findings if one.outcome == "excused") for name, findings in found.items()}
    return Examination(tuple(broken), tuple(applied), {name: some for name, some in let_off.items() if some})


def violations(results: Results) -> list[Violation]:
    """What contradicts itself in these results, rule by rule."""
    return list(examine(results).violations)


def refuse(results: Results) -> None:
    """ValueError where results contradict themselves, with a line for each rule and case."""
    if broken := violations(results):
        listed = "\n".join(map(str, broken))
        raise ValueError(f"{results.path}: it contradicts itself, so no figure of it is shown:\n{listed}")


def baseline(results: Results) -> None:
    """ValueError where results cannot be what others are compared with: inconsistent, or with records not valid.

    A record says itself that it is not valid, such as when the device was throttled while it was taken.
    """
    refuse(results)
    unfit = [case for case in results.cases if not case.valid]
    if unfit:
        first = "; ".join(f"{case.name}: {', '.join(case.notes)}" for case in unfit[:SHOWN])
        others = f"; and {len(unfit) - SHOWN} more" if len(unfit) > SHOWN else ""
        raise ValueError(
            f"{results.path}: {len(unfit)} of {len(results.cases)} records are not valid, so it is no baseline: {first}"
            f"{others}. Remove what the notes name, measure again, or leave these cases out of the run"
        )
