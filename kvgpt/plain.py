"""Measurements as plain text: numbers with their units, and columns that line up."""

import math
from collections.abc import Sequence

PREFIXES = ("p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E")
UNPREFIXED = ("°C", "bit")


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """``1.41 GHz``: a few digits and the prefix that suits them."""
    rounded = float(f"{value:.{digits}g}")
    if unit in UNPREFIXED or not rounded:
        return f"{rounded:.{digits}g} {unit}"
    plain = PREFIXES.index("")
    power = max(-plain, min(math.floor(math.log10(abs(rounded)) / 3), len(PREFIXES) - 1 - plain))
    return f"{rounded / 1000.0**power:.{digits}g} {PREFIXES[plain + power]}{unit}"


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``: whole seconds as a clock shows them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, two spaces between its columns."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
