"""Rules of capacity: what is said to fit must fit."""

from collections.abc import Iterator
from itertools import groupby

from kvgpt.plain import quantity
from kvgpt.recorded import Case, Results
from kvgpt.report.consistency.closed_forms import cache_bytes, held_weights
from kvgpt.report.consistency.finding import SLACK, Finding, judged, same_workload

COINCIDENCE = 100  # sequences that caches set apart: transients make up for as many by chance in 1% at most


def fits_the_budget(results: Results) -> Iterator[Finding]:
    """As many sequences fit as there is room for their caches beside the weights, in the budget and in the peak."""
    for case in results.of("capacity", "max_batch"):
        fits, each, weights = case.value("max_batch"), cache_bytes(case, 1), held_weights(case)
        if fits is None or weights is None or not each:
            continue
        for name, room in _rooms(case).items():
            least = weights + fits * each
            sentence = (
                f"{fits:,} sequences of {quantity(each, 'B')} of cache and weights of {quantity(weights, 'B')} are "
                f"{quantity(least, 'B')}, more than {quantity(room, 'B')}, the {name}: "
                f"{max(0, int((room - weights) // each)):,} fit"
            )
            yield judged(least <= room, sentence, case)


def differs_where_caches_do(results: Results) -> Iterator[Finding]:
    """Variants whose caches differ do not end at the same sequence, unless a record says what fills the rest."""
    for group in same_workload(results.of("capacity", "max_batch")):
        silent = [case for case in group if "bytes_per_sequence" not in case.metrics]
        known = [(case, each) for case in silent if (each := cache_bytes(case, 1)) is not None and _free(case) > 0]
        ordered = sorted(known, key=lambda one: one[0].metrics["max_batch"]["value"])
        for fits, several in groupby(ordered, key=lambda one: one[0].metrics["max_batch"]["value"]):
            alike = list(several)
            sizes = [each for _, each in alike]
            apart = fits * fits * (max(sizes) - min(sizes)) / max(_free(case) for case, _ in alike)  # sequences
            names = " and ".join(f"{case.variant}, with {quantity(each, 'B')} of cache each," for case, each in alike)
            sentence = f"{names} end at the same {fits:,} sequences, where the caches alone set them {apart:,.0f} apart"
            yield judged(apart < COINCIDENCE, sentence, *(case for case, _ in alike))


def _free(case: Case) -> float:
    """Bytes that sequences can have beside the weights; 0 where nobody says."""
    return min(_rooms(case).values(), default=0.0) - (held_weights(case) or 0.0)


def _rooms(case: Case) -> dict[str, float]:
    """What all sequences must fit in: the budget to the byte, and the peak that was read at the edge."""
    budget, peak = case.workload.get("memory_budget"), case.value("peak_memory")
    rooms = {"memory budget": budget, "peak memory and 3%": None if peak is None else (1 + SLACK) * peak}
    return {name: room for name, room in rooms.items() if isinstance(room, int | float)}
