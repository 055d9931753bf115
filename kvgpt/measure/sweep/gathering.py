"""Gathering: of each run of a sweep, what counts, as a results file for ``kvgpt merge``.

A group counts from who holds it in the end. What a worker that died had of it, before another took it over, does not:
its variants would be compared across devices.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from kvgpt import strict_json
from kvgpt.measure.sweep.ledger import Ledger, Run
from kvgpt.measure.sweep.plan import Plan


def gather(plan: Plan, ledger: Ledger) -> list[Path]:
    """Write the files, beside the results of each run; OSError where there is no room."""
    made = {ledger.file(run, "held.json"): document for run, document in documents(plan, ledger).items()}
    for path, document in made.items():
        strict_json.write(path, document)
    return list(made)


def documents(plan: Plan, ledger: Ledger) -> dict[Run, dict[str, Any]]:
    """pytest-benchmark's JSON of each run that has measured what counts, with no more than that; in order."""
    held: defaultdict[Run, set[str]] = defaultdict(set)
    for group, run in ledger.held(plan.groups):
        held[run].update(group.cases)
    return {run: _of(ledger, run, held[run]) for run in sorted(held) if ledger.measured(run) & held[run]}


def _of(ledger: Ledger, run: Run, cases: set[str]) -> dict[str, Any]:
    """The commit is that of the beginning: the code was imported then, whatever became of the files."""
    document, commit = ledger.document(run), ledger.opening(run)["commit_info"]
    entries = [entry for entry in document["benchmarks"] if entry["fullname"] in cases]
    own = {**document.get("kvgpt", {}), "cases": sorted(cases)}
    return {**document, "commit_info": commit, "benchmarks": entries, "kvgpt": own}
