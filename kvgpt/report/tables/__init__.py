"""The tables: what makes each, and their files. A table is a function of the results and a line of :data:`MAKERS`."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from kvgpt import strict_json, whole
from kvgpt.recorded import Results
from kvgpt.report import break_even, metrics_summary
from kvgpt.report.chart import Missing
from kvgpt.report.tables import (
    against_length,
    capacity,
    latex,
    markdown,
    perplexity,
    phases,
    spreadsheet,
    summary,
    use_cases,
)
from kvgpt.report.tabular import Table


def _break_even(results: Results) -> list[Table]:
    try:
        return [break_even.table(results)]
    except Missing:
        return []


Maker = Callable[[Results], list[Table]]
PRINTED: tuple[Maker, ...] = (  # of a paper too: break-even has a row for every pair of variants
    summary.summary,
    use_cases.use_cases,
    against_length.latency,
    against_length.memory,
    phases.phases,
    capacity.capacity,
    perplexity.perplexity,
)
MAKERS = (*PRINTED, _break_even)
PAGES: dict[str, tuple[str, tuple[Maker, ...]]] = {
    # Markdown file -> its heading, and what makes its tables
    "summary.md": ("Summary", (summary.summary, use_cases.use_cases)),
    "perplexity_table.md": ("Perplexity", (perplexity.perplexity,)),
}


def every(results: Results) -> list[Table]:
    """All that there are figures for, each under a name of its own: the second of a name is called ``NAME_2``."""
    return _made(results, MAKERS)


def write(results: Results, directory: Path) -> list[Path]:
    """Write ``benchmark_tables.tex``, ``summary.md``, ``perplexity_table.md``, ``metrics_summary.json``, and each table
    as ``tables/NAME.csv``; what has no figures is not written. Each file is there whole or not at all.
    """
    texts = {f"tables/{table.name}.csv": spreadsheet.document(table) for table in every(results)}
    if printed := _made(results, PRINTED):
        texts["benchmark_tables.tex"] = latex.document(printed)
    for name, (heading, makers) in PAGES.items():
        if shown := _made(results, makers):
            texts[name] = markdown.document(heading, _machine(results), shown)
    figures = metrics_summary.summary(results)
    (directory / "tables").mkdir(parents=True, exist_ok=True)
    written = [whole.write(directory / name, text) for name, text in texts.items()]
    if figures:
        strict_json.write(directory / "metrics_summary.json", figures)
        written.append(directory / "metrics_summary.json")
    return sorted(written)


def _made(results: Results, makers: Iterable[Maker]) -> list[Table]:
    seen = Counter[str]()
    named = list[Table]()
    for table in (table for make in makers for table in make(results)):
        seen[table.name] += 1
        number = seen[table.name]
        named.append(table if number == 1 else replace(table, name=f"{table.name}_{number}"))
    return named


def _machine(results: Results) -> str:
    named = ", ".join(str(results.device[name]) for name in ("name", "torch", "driver") if name in results.device)
    return named or "unknown device"
