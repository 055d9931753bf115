"""Texts as they are drawn: on one line, without what a font cannot show, and no longer than their place."""

import re
from bisect import bisect_right
from collections.abc import Callable

ELLIPSIS = "…"
EVENNESS = 30  # narrower widths that are tried
INSEPARABLE = re.compile(r" (?==)|(?<==) |(?<=\d) (?=(?:[pnµmkMGTPE]?(?:s|B|J|W|bit)|°C)\b|%)")  # "T = 1,024", "3 ms"


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


def lines(text: str, width: float, of: Callable[[str], float] = len, indent: str = "") -> list[str]:
    """Lines of at most such a width, as ``of`` measures it; none parts a number from its unit. All but the first begin
    with ``indent``, and a word that is too wide is parted.
    """
    words = INSEPARABLE.sub("\u00a0", plain(text)).split(" ")
    made = [words[0]]
    for word in words[1:]:
        if of(f"{made[-1]} {word}") <= width:
            made[-1] += f" {word}"
        else:
            made.append(indent + word)
        made += _parted(made.pop(), width, of, indent)
    return _parted(made[0], width, of, indent) + made[1:]


def _parted(line: str, width: float, of: Callable[[str], float], indent: str) -> list[str]:
    made = []
    while of(line) > width and len(line) > len(indent) + 1:
        fit = bisect_right(range(len(line)), width, lo=len(indent) + 2, key=lambda letters: of(line[:letters])) - 1
        made.append(line[:fit])
        line = indent + line[fit:]
    return [*made, line]


def wrapped(text: str, width: float, most: int = 3, of: Callable[[str], float] = len) -> str:
    """At most so many lines, as even as can be; what needs more of them is cut off with an ellipsis."""
    made = lines(text, width, of)
    if len(made) > most:
        return "\n".join([*made[: most - 1], made[most - 1][:-1] + ELLIPSIS])
    widest = max(of(word) for word in " ".join(made).split(" "))
    narrower = (lines(text, max(width * share / EVENNESS, widest), of) for share in range(EVENNESS // 3, EVENNESS))
    return "\n".join(next((even for even in narrower if len(even) <= len(made)), made))


def broken(name: str, width: int) -> list[str]:
    """The lines of a name that is parted after its joints, such as ``+``, where it is longer than ``width``."""
    made = [""]  # a part keeps its joint, and a space at its end counts for nothing
    for part in re.split(r"(?<=[-+:._ ])", plain(name)):
        if made[-1] and len((made[-1] + part).rstrip()) > width:
            made.append("")
        made[-1] += part
    return [line.rstrip() for line in made]


def number(value: float) -> str:
    """As on an axis: thousands apart, and no more digits than a reader takes in."""
    value = float(f"{value:.6g}") + 0.0  # no minus before a zero
    return f"{value:,.6g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:g}"
