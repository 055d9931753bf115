"""How many sequences fit: a table for each load, a row for each variant."""

from collections.abc import Mapping
from typing import Any

from kvgpt.plain import quantity
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.select import grouped, models
from kvgpt.report.tables.quotient import quotient
from kvgpt.report.tables.validity import marked, unfit
from kvgpt.report.tabular import Cell, Column, Table

MEGA = 1e6
COLUMNS = (
    Column("Version"),
    Column("Largest batch", "d"),
    Column("Predicted", "d"),
    Column(f"Batch/{REFERENCE}", ".3f"),
    Column("Peak memory (MB)", ".2f"),
    Column("A sequence (MB)", ".3f"),
    Column("Throughput (token/s)", ".1f"),
)
NOTES = (
    "Predicted is by closed form. A sequence is the peak less the weights, over the largest batch. Throughput is at "
    "the largest batch.",
)
LENGTHS = {"context": "context", "new_tokens": "T ="}  # of what fills the memory


def by_load(cases: list[Case]) -> dict[str, list[Case]]:
    """{load in words: the cases that fill as much memory, to four digits, with the same work}."""
    return grouped(cases, lambda case: _load(case.workload))


def capacity(results: Results) -> list[Table]:
    return [
        _table(f"Capacity: {title}, {load}", alike)
        for title, cases in models(results.of("capacity", "max_batch")).items()
        for load, alike in by_load(cases).items()
    ]


def bytes_per_sequence(case: Case) -> float | None:
    """What one more sequence took of the memory: the peak less the weights, over the batch."""
    batch, peak, weights = map(case.value, ("max_batch", "peak_memory", "weights_bytes"))
    return None if peak is None or weights is None else quotient(peak - weights, batch)


def _load(workload: Mapping[str, Any]) -> str:
    parts = [str(workload.get("mode", "inference"))]
    parts += [f"{name} {workload[field]}" for field, name in LENGTHS.items() if field in workload]
    if isinstance(budget := workload.get("memory_budget"), int | float):
        parts.append(quantity(budget, "B"))
    return ", ".join(parts)


def _table(title: str, cases: list[Case]) -> Table:
    reference = next((case.value("max_batch") for case in cases if case.variant == REFERENCE and case.valid), None)
    return Table("capacity", title, COLUMNS, tuple(_row(case, reference) for case in cases), NOTES + unfit(cases))


def _row(case: Case, reference: float | None) -> tuple[Cell, ...]:
    peak, sequence = case.value("peak_memory"), bytes_per_sequence(case)
    return (
        marked(case.variant, case.valid),
        _whole(case.value("max_batch")),
        _whole(case.value("max_batch_predicted")),
        quotient(case.value("max_batch"), reference),
        None if peak is None else peak / MEGA,
        None if sequence is None else sequence / MEGA,
        case.value("throughput"),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
