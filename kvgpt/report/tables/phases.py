"""Where the time of a generation goes: a table for each T, a row for each variant."""

from kvgpt.recorded import Case, Results
from kvgpt.report.consistency.finding import size
from kvgpt.report.select import after_one_token, axis, pick, subjects
from kvgpt.report.tables.validity import marked, unfit
from kvgpt.report.tabular import Cell, Column, Table

MILLI = 1e-3
PARTS = {
    "phase_embedding": "Embedding (ms)",
    "phase_attention": "Attention (ms)",
    "phase_mlp": "MLP (ms)",
    "phase_head": "Head (ms)",
    "phase_other": "Other (ms)",
    "phase_sum": "Sum (ms)",
    "total_latency": "Total (ms)",
}


def phases(results: Results) -> list[Table]:
    cases = after_one_token(results.of("phases", "phase_attention"))
    return [
        _table(f"{title}, T = {length}", f"phases_T{length}", pick(of_subject, new_tokens=length))
        for title, of_subject in subjects(cases).items()
        for length in axis(of_subject, "new_tokens")
    ]


def _table(title: str, name: str, cases: list[Case]) -> Table:
    columns = (Column("Version"), *(Column(heading, ".2f") for heading in PARTS.values()))
    notes = ("Total is the time of the same generation without marks between its phases.",)
    rows, batch_size = tuple(map(_row, cases)), size(cases[0], "batch_size")
    return Table(name, f"Phases: {title}", columns, rows, notes + unfit(cases), batch_size)


def _row(case: Case) -> tuple[Cell, ...]:
    values = map(case.value, PARTS)
    return marked(case.variant, case.valid), *(None if value is None else value / MILLI for value in values)
