"""Tables as Markdown, lined up for reading as text too."""

from collections.abc import Iterable, Sequence

from kvgpt.report.tabular import Table

ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "\\|`[*"}
    | {"&": "&amp;", "<": "&lt;"}
    | {chr(code): " " for code in (*range(32), 127, 133, 0x2028, 0x2029)}
)


def document(heading: str, about: str, tables: Iterable[Table]) -> str:
    """A heading, a line below it, and the tables."""
    return "\n".join([f"# {escape(heading)}\n", f"{escape(about)}\n", *map(section, tables)])


def section(table: Table) -> str:
    """A table with its title above and its notes below."""
    names, right = [column.heading for column in table.columns], [bool(column.form) for column in table.columns]
    notes = [f"- {escape(note)}" for note in table.notes]
    return "\n".join(
        [f"## {escape(table.title)}\n", grid(names, table.printed(), right), *notes, *([""] if notes else [])]
    )


def grid(names: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[bool]) -> str:
    """The rows under their headings; columns that are ``right`` are aligned there."""
    printed = [[escape(cell) for cell in row] for row in (names, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*printed, strict=True)]
    rule = "|" + "|".join("-" * (width + 1) + ("-:"[end]) for width, end in zip(widths, right, strict=True)) + "|"

    def line(cells: list[str]) -> str:
        aligned = zip(cells, widths, right, strict=True)
        return "| " + " | ".join(cell.rjust(width) if end else cell.ljust(width) for cell, width, end in aligned) + " |"

    return "\n".join([line(printed[0]), rule, *map(line, printed[1:])]) + "\n"


def escape(text: str) -> str:
    """Text that a Markdown table shows as it is: no markup, no second line."""
    return text.translate(ESCAPES)
