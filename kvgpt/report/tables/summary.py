"""The summary: a row for each variant, with its figures and its status."""

from kvgpt.recorded import Results
from kvgpt.report.tables.standing import Field, Standing, fields
from kvgpt.report.tables.status import RULES, status
from kvgpt.report.tables.validity import marked, unfit
from kvgpt.report.tabular import Cell, Column, Table

MILLI, MEGA = 1e-3, 1e6
COLUMNS = (
    Column("Version"),
    Column("Cache"),
    Column("Total (ms)", ".1f"),
    Column("Per token (ms)", ".3f"),
    Column("Peak memory (MB)", ".1f"),
    Column("Largest batch", "d"),
    Column("Perplexity", ".3f"),
    Column("Status"),
)


def summary(results: Results) -> list[Table]:
    """One for each model."""
    return [_table(field) for field in fields(results)]


def workload(field: Field) -> str:
    """What the figures of a field are of."""
    said = {
        "Times and memory": field.length and f"T = {field.length}, B = {field.batch_size}",
        "Largest batch": field.load,
        "Perplexity": field.text,
    }
    return "; ".join(f"{name}: {what}" for name, what in said.items() if what) + "."


def _table(field: Field) -> Table:
    cases = [case for one in field.standings for case in one.cases.values()]
    notes = (workload(field), *RULES, *unfit(cases))
    return Table(
        "summary", f"Summary: {field.title}", COLUMNS, tuple(_row(field, one) for one in field.standings), notes
    )


def _row(field: Field, one: Standing) -> tuple[Cell, ...]:
    batch = one.shown("capacity", "max_batch")
    return (
        marked(one.variant, all(case.valid for case in one.cases.values())),
        one.canonical,
        _in(MILLI, one.shown("latency", "total_latency")),
        _in(MILLI, one.shown("latency", "per_token_latency")),
        _in(MEGA, one.shown("memory", "peak_memory")),
        None if batch is None else int(batch),
        one.shown("perplexity", "perplexity"),
        status(field, one),
    )


def _in(unit: float, value: float | None) -> float | None:
    return None if value is None else value / unit
