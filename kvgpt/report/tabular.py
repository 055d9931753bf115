"""A table as a description: headings, and rows of names and numbers. Markdown, LaTeX, CSV and the page write it."""

from dataclasses import dataclass

UNKNOWN = "-"
Cell = str | float | None


@dataclass(frozen=True)
class Column:
    """``form`` is how its numbers are printed, as :func:`format` has it; a column of names has none."""

    heading: str
    form: str = ""


@dataclass(frozen=True)
class Table:
    """A cell is a name, a number, or None where nobody knows. ``batch_size`` where all of its figures have one."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    batch_size: int | None = None

    def printed(self) -> list[list[str]]:
        """The rows as text."""
        return [[_text(cell, column) for cell, column in zip(row, self.columns, strict=True)] for row in self.rows]


def _text(cell: Cell, column: Column) -> str:
    if cell is None:
        return UNKNOWN
    return cell if isinstance(cell, str) else format(cell, column.form)
