"""Texts as they are drawn: on one line, without what a font cannot show, and no longer than their place."""

import re
import textwrap

ELLIPSIS = "…"
NARROWEST = 8  # characters in a line
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


def lines(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most ``width`` characters, none of which parts a number from its unit."""
    bound = INSEPARABLE.sub("\u00a0", plain(text))
    return textwrap.wrap(bound, max(width, NARROWEST), subsequent_indent=indent)


def wrapped(text: str, width: int, most: int = 3) -> str:
    """At most so many lines, as even as can be; what needs more of them is cut off with an ellipsis."""
    made = lines(text, width)
    if len(made) > most:
        return "\n".join([*made[: most - 1], f"{made[most - 1][: width - 1]}{ELLIPSIS}"])
    longest = max(map(len, " ".join(made).split(" ")), default=0)
    narrower = (lines(text, letters) for letters in range(max(longest, NARROWEST), width))
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
