"""A publication: all that results have to say, in one folder: the page, and figures, points and tables beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kvgpt.recorded import Results
from kvgpt.report import drawing, page, points, tables
from kvgpt.report.charts import charts
from kvgpt.report.gate import Comparison, Meaning, shown
from kvgpt.report.tables.use_cases import use_cases
from kvgpt.report.tabular import Column, Table

PAGE = "index.html"
SUBFOLDERS = ("figures", "points")
TONES: dict[Meaning, page.Tone] = {
    "worse": "poor",
    "not comparable": "fair",
    "undecided": "fair",
    "nothing got worse": "good",
}


@dataclass(frozen=True)
class Published:
    """What was written, and a line for each figure that was not drawn: its name, why, and what would change that."""

    page: Path
    written: tuple[Path, ...]
    missing: tuple[str, ...]


def publish(
    results: Results, directory: Path, remarks: Sequence[str] = (), compared: Comparison | None = None
) -> Published:
    """Write the page, every figure, their points and every table; ``compared`` is with a base, and comes first.

    The results must be consistent: :func:`kvgpt.report.consistency.refuse` says whether they are.
    """
    made, missing = charts(results)
    every = tables.every(results)
    for folder in SUBFOLDERS:
        (directory / folder).mkdir(parents=True, exist_ok=True)
    beside = [*drawing.draw(made, directory / "figures"), *points.write(made, directory / "points")]
    beside += tables.write(results, directory)
    shown_first = [*every[:1], *([_judged(compared)] if compared else []), *every[1:]]
    whole = page.write(directory / PAGE, results, made, missing, shown_first, verdict(results, compared), remarks)
    return Published(whole, (whole, *beside), tuple(missing))


def verdict(results: Results, compared: Comparison | None = None) -> page.Verdict:
    """The gate's word where there is a base, whether results can be relied on, and the best variant for each use."""
    unfit = sum(not case.valid for case in results.cases)
    valid = "all valid" if not unfit else f"{unfit} not valid, which nothing below relies on"
    health = f"{len(results.cases)} cases, consistent, {valid}"
    best = [f"{row[0]}: {row[1]}, {row[2]}" for table in use_cases(results) for row in table.printed()]
    if compared is None:
        return page.Verdict(health, "fair" if unfit else "good", tuple(best))
    against = f"against {compared.base}: {shown.headline(compared)}"
    return page.Verdict(against, TONES[compared.meaning], (health, *best))


def _judged(compared: Comparison) -> Table:
    rows = tuple(tuple(row) for row in shown.rows(compared))
    columns = tuple(map(Column, shown.HEADED))
    return Table("comparison", f"Against {compared.base}", columns, rows, tuple(shown.remarks(compared)))
