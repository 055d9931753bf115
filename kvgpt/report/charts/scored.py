"""Perplexities that may be compared: of one model, one text and one way of feeding it."""

from collections.abc import Iterable
from dataclasses import replace

from kvgpt.recorded import Case, Workload
from kvgpt.report.charts.panels import Group
from kvgpt.report.consistency.finding import same_workload, size
from kvgpt.report.select import subjects


def groups(cases: Iterable[Case]) -> list[Group]:
    """The cases of each workload, under what was scored and with which model."""
    return [(_title(several[0]), several) for several in same_workload(cases)]


def _title(case: Case) -> str:
    # How many rows are fed at once is no part of what is scored.
    alone = {field: value for field, value in case.workload.items() if field != "batch_size"}
    (subject,) = subjects([replace(case, workload=Workload(alone, case.name))])
    mode = str(case.workload.get("mode", "perplexity")).replace("_", " ")
    tokens, corpus = size(case, "scored_tokens"), case.workload.get("corpus")
    scored = "" if tokens is None else f", {tokens:,} tokens"
    return f"{mode}{scored}{'' if corpus is None else f' of {corpus}'}: {subject}"
