"""Where a decode step's time goes, and what to fuse next: a row for each variant, and for each of its operators."""

from kvgpt.recorded import Case, Results
from kvgpt.report.charts.measured import one_each
from kvgpt.report.consistency.finding import size
from kvgpt.report.profiles import Operator, profile_of, profiled
from kvgpt.report.tables.validity import marked, unfit
from kvgpt.report.tabular import Cell, Column, Table

MOST = 5  # operators of a variant that are ranked
BETWEEN = "(between them)"


def where_time_goes(results: Results) -> list[Table]:
    """Kernels a token, the gaps between them and the longest of them, of one profiled step."""
    columns = (
        *(Column("Version"), Column("Step (ms)", ".3f"), Column("Profiled (ms)", ".3f"), Column("Kernels", ",.0f")),
        *(Column("In gaps (%)", ".1f"), Column("Longest gap (µs)", ",.1f"), Column("Takes most")),
        *(Column("of the step (%)", ".1f"), Column("Times", ",d")),
    )
    notes = (
        "Step is timed without the profiler; all other columns are of one profiled step, which is slower.",
        "Kernels: on a GPU what ran on it; on a CPU the operators that torch was asked for.",
    )
    return [
        Table(
            "where_time_goes", f"Where a decode step's time goes: {title}", columns, rows, notes + unfit(cases), batch
        )
        for title, cases, batch in _groups(results)
        for rows in [tuple(map(_where, one_each(cases).values()))]
    ]


def fuse_next(results: Results) -> list[Table]:
    """The operators of each variant by the time that they take above their floors, and the gaps between them."""
    columns = (
        *(Column("Version"), Column("Operator"), Column("Times", ",d"), Column("Takes (µs)", ",.1f")),
        *(Column("Floor (µs)", ",.2f"), Column("Above it, of the step (%)", ".1f")),
    )
    notes = (
        "Floor: the bytes of the operands, read once, and the operations that torch counts, at the best rates of the "
        "run; 0 where neither is known, such as of a GPU's kernels. Fusing could save at most what is above it.",
    )
    return [
        Table("fuse_next", f"What to fuse next: {title}", columns, rows, notes + unfit(cases), batch)
        for title, cases, batch in _groups(results)
        for rows in [tuple(row for case in one_each(cases).values() for row in _ranked(case))]
    ]


def _groups(results: Results) -> list[tuple[str, list[Case], int | None]]:
    return [(title, cases, size(cases[0], "batch_size")) for title, cases in profiled(results).items()]


def _where(case: Case) -> tuple[Cell, ...]:
    found, timed = profile_of(case), case.value("per_token_latency")
    most = max(found.operators, key=lambda one: one.seconds, default=None)
    longest: tuple[Cell, ...] = (None, None, None)
    if most is not None:
        longest = most.name, 100 * most.seconds / found.seconds, most.count
    return (
        *(marked(case.variant, case.valid), None if timed is None else 1e3 * timed, 1e3 * found.seconds),
        *(case.value("kernels_per_token"), 100 * found.share_of_gaps, 1e6 * found.longest_gap, *longest),
    )


def _ranked(case: Case) -> list[tuple[Cell, ...]]:
    found = profile_of(case)
    gaps = Operator(BETWEEN, len(found.spans) + 1, found.gaps, 0.0, found.gaps)
    every = sorted([*found.operators, gaps], key=lambda one: -one.above)
    return [
        (
            *(marked(case.variant, case.valid), one.name, one.count),
            *(1e6 * one.seconds, 1e6 * one.floor, 100 * one.above / found.seconds),
        )
        for one in every[:MOST]
    ]
