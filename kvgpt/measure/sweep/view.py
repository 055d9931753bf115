"""A sweep in a few lines of plain text: what each worker begins with, and how far each is."""

import time
from collections.abc import Iterator, Sequence

from kvgpt.measure.progress import span
from kvgpt.measure.sweep.ledger import Ledger, Run
from kvgpt.measure.sweep.plan import Group, Plan
from kvgpt.plain import columns


def planned(plan: Plan) -> list[str]:
    """The groups of each worker, in the order in which it begins them."""
    shares = [[plan.groups[number] for number in share] for share in plan.shares]
    rows = [
        [str(worker), str(len(group.cases)), group.key] for worker, share in enumerate(shares, 1) for group in share
    ]
    sums = [f"worker {worker}: {_sum(share)}" for worker, share in enumerate(shares, 1)]
    total = f"{len(plan.cases)} cases in {len(plan.groups)} comparisons, {plan.workers} workers on {plan.device}"
    return [total, *sums, "", *columns(["worker", "cases", "comparison"], rows)]


def begun(plan: Plan, ledger: Ledger, here: int) -> list[str]:
    """What is said before the workers start, ``here`` of them in this place."""
    cases = f"{len(plan.cases)} cases in {len(plan.groups)} comparisons, {plan.workers} workers on {plan.device}"
    started = "" if here == plan.workers else f", {here} of them here"
    return [f"{cases}{started}", f"logs: {ledger.folder}/worker*.log"]


def total(plan: Plan, ledger: Ledger) -> str:
    """How much of a sweep is on disk, of what counts."""
    done = sum(len(ledger.measured(run).intersection(group.cases)) for group, run in ledger.held(plan.groups))
    settled = sum(ledger.is_settled(number, group) for number, group in enumerate(plan.groups))
    return f"{done} of {len(plan.cases)} cases are on disk; {settled} of {len(plan.groups)} comparisons are settled"


def status(plan: Plan, ledger: Ledger) -> list[str]:
    """All workers: what each has, how much of it is on disk, and what it is doing."""
    rows = list(_rows(plan, ledger, ledger.held(plan.groups)))
    headings = ["run", "comparisons", "cases", "state", "last heard", ""]
    return [total(plan, ledger), "", *columns(headings, rows)]


def _rows(plan: Plan, ledger: Ledger, holders: Sequence[tuple[Group, Run]]) -> Iterator[list[str]]:
    for run in ledger.runs():
        held = [group for group, holder in holders if holder == run]
        cases = {case for group in held for case in group.cases}
        done = len(cases & ledger.measured(run))
        beat = ledger.file(run, "beat").read_text("utf-8")
        at, _, case = beat.partition(" ")
        state, about = _state(ledger, run, case)
        since = f"{span(max(0.0, time.time() - float(at)))} ago" if at else "never"
        yield [str(run), str(len(held)), f"{done}/{len(cases)}", state, since, about]
    begun = {run.worker for run in ledger.runs()}
    for worker, share in enumerate(plan.shares, 1):
        if worker not in begun:
            yield [f"worker{worker}", f"0 of {len(share)}", "", "not begun", "", ""]


def _state(ledger: Ledger, run: Run, case: str) -> tuple[str, str]:
    """A word, and what there is to say beside it."""
    if ledger.has_ended(run):
        return "ended", ""
    died = ledger.file(run, "died")
    if died.exists():
        return "died", died.read_text("utf-8").strip()
    return "at work", case


def _sum(groups: Sequence[Group]) -> str:
    return f"{sum(len(group.cases) for group in groups)} cases in {len(groups)} comparisons"
