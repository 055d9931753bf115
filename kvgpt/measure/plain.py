"""Measurements as plain text: numbers with their units, and columns that line up."""

from collections.abc import Sequence

PREFIXES = (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9))
UNPREFIXED = ("°C", "bit")


def quantity(value: float, unit: str) -> str:
    """``1.41 GHz``: four digits and the prefix that suits them."""
    if unit in UNPREFIXED:
        return f"{value:.4g} {unit}"
    prefix, factor = next((one for one in PREFIXES if abs(value) >= one[1]), ("", 1.0))
    return f"{value / factor:.4g} {prefix}{unit}"


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, two spaces between its columns."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
