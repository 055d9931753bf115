"""Tables in HTML: what is sorted and filtered by is said in attributes, so that no script reads numbers from text."""

from collections.abc import Collection

from kvgpt.report.page.markup import Element, element, listed
from kvgpt.report.tabular import Cell, Column, Table

LENGTHS = ("T", "new tokens", "new tokens T")  # headings of columns that rows are filtered by
BATCH_SIZES = ("B", "batch size")
SENTENCE = 40  # characters, from which a cell's words want some width
MARK = " *"  # behind the name of a variant with a figure that is not valid


def table(described: Table, variants: Collection[str]) -> Element:
    """The table in a box of its own, which scrolls where the page is too narrow."""
    columns = described.columns
    headings = [element("th", one.heading, scope="col", **_owner(one.heading, variants)) for one in columns]
    rows = [
        element("tr", *_cells(row, text, variants), **_sizes(row, columns))
        for row, text in zip(described.rows, described.printed(), strict=True)
    ]
    whole = element(
        "table",
        element("caption", described.title),
        element("thead", element("tr", *headings)),
        element("tbody", *rows),
    )
    scrolled = element("div", whole, class_="scroll", role="region", aria_label=described.title, tabindex="0")
    batch = {} if described.batch_size is None else {"data_batch": str(described.batch_size)}
    return element("section", scrolled, *listed(described.notes, "notes"), class_="table", **batch)


def _cells(row: tuple[Cell, ...], printed: list[str], variants: Collection[str]) -> list[Element]:
    return [
        element("td" if place else "th", text, **({} if place else {"scope": "row"}), **_said(cell, variants))
        for place, (cell, text) in enumerate(zip(row, printed, strict=True))
    ]


def _said(cell: Cell, variants: Collection[str]) -> dict[str, str]:
    if cell is None:
        return {"class_": "unknown"}
    if not isinstance(cell, str):
        return {"class_": "number", "data_value": repr(float(cell))}
    return {"class_": "sentence"} if len(cell) >= SENTENCE else _owner(cell, variants)


def _owner(name: str, variants: Collection[str]) -> dict[str, str]:
    """Whose a row or a column is, where its name is that of a variant."""
    bare = name.removesuffix(MARK)
    return {"data_variant": bare} if bare in variants else {}


def _sizes(row: tuple[Cell, ...], columns: tuple[Column, ...]) -> dict[str, str]:
    found = {}
    for cell, column in zip(row, columns, strict=True):
        for name, headings in (("data_length", LENGTHS), ("data_batch", BATCH_SIZES)):
            if column.heading in headings and isinstance(cell, int | float):
                found[name] = format(cell, ".15g")
    return found
