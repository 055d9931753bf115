"""Tables of results for tests to read, and results with some of their cases changed or left out."""

from dataclasses import replace

from kvgpt.record import metric
from kvgpt.report import tables


def of(results, *families):
    return replace(results, cases=tuple(case for case in results.cases if case.family in families))


def changed(results, choose, **figures):
    """The results with other figures, valid or not, in the cases that are chosen."""
    valid = figures.pop("valid", True)
    return replace(
        results,
        cases=tuple(
            replace(
                case,
                valid=valid,
                notes=() if valid else ("throttled",),
                metrics={**case.metrics, **{name: metric(name, value) for name, value in figures.items()}},
            )
            if choose(case)
            else case
            for case in results.cases
        ),
    )


def without(results, choose):
    return replace(results, cases=tuple(case for case in results.cases if not choose(case)))


def is_of(variant, family):
    return lambda case: case.variant == variant and case.family == family


def named(results, name):
    return next(table for table in tables.every(results) if table.name == name)


def row(table, first):
    found = next(row for row in table.rows if row[0] == first)
    return {column.heading: cell for column, cell in zip(table.columns, found, strict=True)}
