"""Quality: a table for each mode and text, a row for each variant."""

from collections.abc import Mapping
from typing import Any

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.select import grouped, models
from kvgpt.report.tables.quotient import quotient
from kvgpt.report.tables.validity import marked, unfit
from kvgpt.report.tabular import Cell, Column, Table

COLUMNS = (
    Column("Version"),
    Column("Perplexity", ".4f"),
    Column("Loss", ".4f"),
    Column("Degradation (%)", "+.3f"),
    Column("± (%)", ".3f"),
    Column("95% from", ".4f"),
    Column("95% to", ".4f"),
)
NOTES = (
    f"Degradation is against {REFERENCE}: paired token by token where a spread stands beside it, which is half the "
    "width of its 95% interval. The interval of a perplexity is that of the text.",
)
FORMS = {  # what names a text and how it is scored, in this order
    "scored_tokens": ", {:,} tokens",
    "corpus": " of {}",
    "corpus_sha256": " ({!s:.8})",
    "window": ", windows of {}",
    "stride": " every {}",
}


def by_text(cases: list[Case]) -> dict[str, list[Case]]:
    """{what was scored in words: the cases that scored the same tokens in the same way}."""
    return grouped(cases, lambda case: _scored(case.workload))


def perplexity(results: Results) -> list[Table]:
    return [
        _table(f"Perplexity, {text}: {title}", alike)
        for title, cases in models(results.of("perplexity", "perplexity")).items()
        for text, alike in by_text(cases).items()
    ]


def change(case: Case, reference: Case | None) -> float | None:
    """The perplexity relative to the reference's less 1: as recorded, paired token by token, else from the two."""
    recorded = case.value("perplexity_change")
    if recorded is not None:
        return recorded
    ratio = None if reference is None else quotient(case.value("perplexity"), reference.value("perplexity"))
    return None if ratio is None else ratio - 1


def _table(title: str, cases: list[Case]) -> Table:
    reference = next((case for case in cases if case.variant == REFERENCE and case.valid), None)
    rows = tuple(_row(case, reference) for case in cases)
    return Table("perplexity", title, COLUMNS, rows, NOTES + unfit(cases))


def _scored(workload: Mapping[str, Any]) -> str:
    """Of a corpus, the first digits of its sha256 too: texts under one name may differ."""
    said = str(workload.get("mode", "perplexity")).replace("_", " ")
    for field, form in FORMS.items():
        if field in workload:
            said += form.format(workload[field])
    return said


def _row(case: Case, reference: Case | None) -> tuple[Cell, ...]:
    low, high = case.interval("perplexity") or (None, None)
    degradation, ends = change(case, reference), case.interval("perplexity_change")
    return (
        marked(case.variant, case.valid),
        case.value("perplexity"),
        case.value("nll"),
        None if degradation is None else round(100 * degradation, 3) + 0.0,
        None if ends is None else 50 * (ends[1] - ends[0]),
        low,
        high,
    )
