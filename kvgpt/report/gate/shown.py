"""A comparison as text for a terminal, as Markdown for a pull request, and as JSON for a program.

Names come from results files: what is no printable character is shown by its code, and nothing is read as markup.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from kvgpt.plain import columns, quantity
from kvgpt.report.gate.outcome import Comparison, Judged

SCHEMA = 1
HEADED = ("verdict", "case", "metric", "base", "new", "change", "interval", "limit", "why")
QUIET = ("SAME",)  # words that a reader need not see case by case
OPEN = "UNDECIDED may be worse or the same: more passes, or kvgpt compare --ab GIT_REF, tell smaller changes"


def headline(found: Comparison) -> str:
    """``worse: 2 WORSE, 1 UNDECIDED, 201 SAME``."""
    counted = [f"{count} {word}" for word, count in found.counts.items() if count]
    return f"{found.meaning}: {', '.join(counted) or 'no figure is held to a limit'}"


def text(found: Comparison, everything: bool = False) -> list[str]:
    """A line for each figure that is not the same, or for all, under the headline."""
    shown = [_row(one) for one in _ordered(found) if everything or one.word not in QUIET]
    lines = [f"{found.base} -> {found.new}", headline(found)]
    if shown:
        lines += ["", *columns(HEADED, shown)]
    told = remarks(found)
    return [*lines, *([""] if told else []), *told]


def markdown(found: Comparison) -> str:
    """A table of what is not the same, and the rest folded away."""
    loud = [one for one in _ordered(found) if one.word not in QUIET]
    quiet = [one for one in _ordered(found) if one.word in QUIET]
    parts = [f"### kvgpt compare: {headline(found)}\n"]
    if loud:
        parts.append(_table(loud))
    if quiet:
        parts.append(f"<details><summary>{len(quiet)} SAME</summary>\n\n{_table(quiet)}\n</details>\n")
    parts += [f"- {_code(line)}" for line in remarks(found)]
    return "\n".join([*parts, f"\nbase {_code(found.base)}, new {_code(found.new)}\n"])


def document(found: Comparison, strict: bool = False) -> dict[str, Any]:
    """``{schema, exit, counts, judged, ...}`` in SI units; what is unknown is left out."""
    judged = [{name: value for name, value in asdict(one).items() if value not in (None, "")} for one in found.judged]
    return {
        "schema": SCHEMA,
        "base": found.base,
        "new": found.new,
        "exit": found.exit_code(strict),
        "counts": dict(found.counts),
        "judged": judged,
        "only_new": list(found.only_new),
        "remarks": list(found.remarks),
    }


def rows(found: Comparison) -> list[list[str]]:
    """The cells of every figure under :data:`HEADED`, the worst first."""
    return [_row(one) for one in _ordered(found)]


def remarks(found: Comparison) -> list[str]:
    """A sentence each: what is left open, of what a reader must know, and which cases nothing is said of."""
    fresh = [f"only in the new results, not judged: {name}" for name in found.only_new]
    left_open = [OPEN] if found.counts["UNDECIDED"] else []
    return [_printable(line) for line in (*left_open, *found.remarks, *fresh)]


def _ordered(found: Comparison) -> list[Judged]:
    """By word, the worst first; within a word as in the base."""
    words = list(found.counts)
    return sorted(found.judged, key=lambda one: words.index(one.word))


def _row(one: Judged) -> list[str]:
    figures = ["" if value is None else _figure(value, one.unit) for value in (one.base, one.new)]
    interval = "" if one.interval is None else f"{_percent(one.interval[0])} to {_percent(one.interval[1])}"
    change = "" if one.ratio is None else _percent(one.ratio)
    cells = (one.word, one.case, one.metric or "", *figures, change, interval, one.limit, one.reason)
    return [_printable(cell).strip() for cell in cells]


def _figure(value: float, unit: str) -> str:
    return f"{value:.6g}" if unit == "1" else quantity(value, unit, digits=6 if unit == "B" else 4)


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1) + 0.0:+.3g}%" if abs(ratio - 1) >= 5e-6 else "0%"


def _printable(words: str) -> str:
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in words)


def _table(judged: Iterable[Judged]) -> str:
    lines = ["| " + " | ".join(HEADED) + " |", "|" + "---|" * len(HEADED)]
    for one in judged:
        word, case, metric, *figures, reason = _row(one)
        cells = [word, _code(case), metric, *figures, _code(reason)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _code(words: str) -> str:
    """As code, in which nothing is markup and nobody is called by name; a bar would end the cell even there."""
    return "`" + _printable(words).replace("`", "'").replace("|", "\\|") + "`" if words else ""
