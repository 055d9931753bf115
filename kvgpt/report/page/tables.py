"""Tables in HTML: what is sorted and filtered by is said in attributes, so that no script reads numbers from text."""

from kvgpt.report.page.markup import Element, element, listed
from kvgpt.report.tabular import Cell, Column, Table

FILTERED = {  # heading, in lower case -> what rows are filtered by
    "variant": "variant",
    "version": "variant",
    "b": "batch",
    "batch size": "batch",
    "t": "length",
    "new tokens": "length",
    "new tokens t": "length",
}


def table(described: Table) -> Element:
    """The table in a box of its own, which scrolls where the page is too narrow."""
    headings = [element("th", column.heading, scope="col") for column in described.columns]
    body = [_row(described.columns, row, text) for row, text in zip(described.rows, described.printed(), strict=True)]
    whole = element(
        "table",
        element("caption", described.title),
        element("thead", element("tr", *headings)),
        element("tbody", *body),
    )
    scrolled = element("div", whole, class_="scroll", role="region", aria_label=described.title, tabindex="0")
    return element("section", scrolled, *listed(described.notes, "notes"), class_="table")


def _row(columns: tuple[Column, ...], row: tuple[Cell, ...], printed: list[str]) -> Element:
    marks = {}
    for column, cell in zip(columns, row, strict=True):
        mark = FILTERED.get(column.heading.lower())
        if mark is not None and cell is not None:
            marks[f"data_{mark}"] = cell if isinstance(cell, str) else format(cell, ".15g")
    cells = [_cell(cell, text, first=not place) for place, (cell, text) in enumerate(zip(row, printed, strict=True))]
    return element("tr", *cells, **marks)


def _cell(cell: Cell, text: str, *, first: bool) -> Element:
    heading = {"scope": "row"} if first else {}
    tag = "th" if first else "td"
    if cell is None:
        return element(tag, text, class_="unknown", **heading)
    if isinstance(cell, str):
        return element(tag, text, **heading)
    return element(tag, text, class_="number", data_value=repr(float(cell)), **heading)
