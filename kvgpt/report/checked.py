"""What ``kvgpt check`` says of results files: each contradiction, what no rule was held to, and a last line."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from kvgpt import recorded
from kvgpt.report import consistency, reading


def report(paths: Iterable[Path], baseline: bool = False) -> tuple[list[str], bool]:
    """The lines to print, and whether every file is consistent and, where asked, fit to be a baseline."""
    lines, broken, records, applied = list[str](), list[str](), 0, dict[str, None]()
    for path in paths:
        results, remarks = reading.read(path)
        found = consistency.examine(results)
        lines += [f"{path}: {remark}" for remark in remarks]
        for rule, findings in found.excused.items():
            reasons = Counter(one.sentence for one in findings)
            lines += [f"{path}: {rule}: not held to it, {count}: {why}" for why, count in reasons.items()]
        broken += [f"{path}: {violation}" for violation in found.violations]
        if baseline and not found.violations:
            broken += _unfit(results)
        records += len(results.cases)
        applied |= dict.fromkeys(found.applied)
    verdict = "refused" if broken else "consistent"
    return [*lines, *broken, f"{verdict}: {records} records, {len(applied)} rules applied"], not broken


def _unfit(results: recorded.Results) -> list[str]:
    try:
        consistency.baseline(results)
    except ValueError as error:
        return [str(error)]
    return []
