"""Rules of bytes: the memory of all variants is one sum, of weights, a cache as its closed form has it, and transients.

What a record does not state is taken from its closed form, and is no reason for two records to differ.
"""

from collections.abc import Iterator

from kvgpt.plain import quantity as amount
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.consistency.closed_forms import cache_bytes, held_cache, held_weights, weights_bytes
from kvgpt.report.consistency.finding import SLACK, Finding, judged, same_workload, size

FAMILIES = ("memory", "positions")  # whose ``cache_bytes`` are of all layers, rows and slots


def cache_is_its_closed_form(results: Results) -> Iterator[Finding]:
    """The bytes held are the closed form's, to the byte."""
    for case in results.cases:
        held, batch_size = case.value("cache_bytes"), size(case, "batch_size")
        if held is None or batch_size is None or case.family not in FAMILIES:
            continue
        for who, form in (("its record", case.value("cache_bytes_formula")), ("this", cache_bytes(case, batch_size))):
            if form is not None:
                sentence = f"the cache holds {held:,} B, the closed form of {who} says {form:,} B"
                yield judged(held == form, sentence, case)


def weights_are_their_closed_form(results: Results) -> Iterator[Finding]:
    """No variant holds a parameter that its model does not have."""
    for case in results.cases:
        held, form = case.value("weights_bytes"), weights_bytes(case)
        if held is not None and form is not None:
            sentence = f"weights of {amount(held, 'B')}, where {case.workload['model']} has {amount(form, 'B')}"
            yield judged(abs(held - form) <= SLACK * form, sentence, case)


def peak_is_its_parts(results: Results) -> Iterator[Finding]:
    """The peak is weights, cache and transients; where these are not stated, it is no less than weights and cache."""
    for case in results.of("memory", "peak_memory"):
        peak, weights, cache = case.value("peak_memory"), held_weights(case), held_cache(case)
        if peak is None or weights is None or cache is None:
            continue
        parts = f"weights of {amount(weights, 'B')} and a cache of {amount(cache, 'B')}"
        transient, steady = case.value("transient_bytes"), case.value("steady_memory")
        if transient is None:
            sentence = f"a peak of {amount(peak, 'B')} is less than {parts}"
            yield judged(weights + cache - peak <= SLACK * peak, sentence, case)
        else:
            whole = weights + cache + transient
            sentence = f"a peak of {amount(peak, 'B')}, where {parts} and {amount(transient, 'B')} of transients make "
            yield judged(abs(peak - whole) <= SLACK * peak, sentence + amount(whole, "B"), case)
        if steady is not None:
            sentence = f"{amount(steady, 'B')} between two steps are not {parts}"
            yield judged(abs(steady - weights - cache) <= SLACK * steady, sentence, case)


def saving_is_within_the_cache(results: Results) -> Iterator[Finding]:
    """A variant peaks no further below the reference than its cache, its transients and its weights are smaller."""
    for group in same_workload(results.of("memory", "peak_memory")):
        reference = next((case for case in group if case.variant == REFERENCE), None)
        whole = None if reference is None else held_cache(reference)
        for case in group:
            cache = held_cache(case)
            if reference is None or whole is None or cache is None or case.variant == REFERENCE:
                continue
            saved = _less(reference, case, "peak_memory")
            elsewhere = sum(_less(reference, case, name) for name in ("transient_bytes", "weights_bytes"))
            sentence = (
                f"{case.variant} peaks {amount(saved, 'B')} below {REFERENCE}, whose cache is {amount(whole, 'B')} and "
                f"only {amount(whole - cache, 'B')} larger; weights and transients account for {amount(elsewhere, 'B')}"
            )
            yield judged(saved <= whole - cache + elsewhere + SLACK * whole, sentence, reference, case)


def _less(reference: Case, case: Case, metric: str) -> float:
    """By how much the case is below the reference; 0 where one of them does not state it."""
    a, b = reference.value(metric), case.value(metric)
    return 0.0 if a is None or b is None else a - b
