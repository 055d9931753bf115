"""Texts as they are drawn: on one line, without what a font cannot show, and no longer than their place."""

import re
import textwrap

ELLIPSIS = "…"


def plain(text: str) -> str:
    """Printable characters, with single spaces for all that separates words."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shortened(text: str, longest: int) -> str:
    """A name of at most ``longest`` characters: what is left out is in the middle, as names differ at their ends."""
    text = plain(text)
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return text[: longest - 1 - tail] + ELLIPSIS + text[len(text) - tail :]


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Lines of at most ``width`` characters; what would need more than so many is cut off with an ellipsis."""
    return "\n".join(textwrap.wrap(plain(text), max(width, 8), max_lines=lines, placeholder=f" {ELLIPSIS}"))


def broken(name: str, width: int) -> list[str]:
    """The lines of a name that is parted after its joints, such as ``+``, where it is longer than ``width``."""
    lines = [""]
    for part in re.split(r"(?<=[-+:._ ])", plain(name)):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def number(value: float) -> str:
    """As on an axis: thousands apart, and no more digits than a reader takes in."""
    value = float(f"{value:.6g}") + 0.0  # no minus before a zero
    return f"{value:,.6g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:g}"
