"""Tables as CSV: numbers in full, and names that no spreadsheet takes for formulas."""

import csv
import io

from kvgpt.report.tabular import Cell, Table

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a cell begins with that spreadsheets would compute


def document(table: Table) -> str:
    """The headings and the rows; what nobody knows is empty."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)  # its line ends are those of RFC 4180, so that a name with either half of one is quoted
    writer.writerow([_plain(column.heading) for column in table.columns])
    writer.writerows([_plain(cell) for cell in row] for row in table.rows)
    return file.getvalue()


def _plain(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell
