"""What stands under a table about figures that are in it and yet are not valid."""

from collections.abc import Iterable

from kvgpt.recorded import Case

MARK = "*"  # beside the name of a variant with a figure that is not valid


def marked(name: str, valid: bool) -> str:
    return name if valid else f"{name} {MARK}"


def unfit(cases: Iterable[Case]) -> tuple[str, ...]:
    """A sentence for each case that is not valid."""
    return tuple(
        f"{MARK} Not valid, so not to be relied on nor compared with: {_named(case)}: {', '.join(case.notes)}"
        for case in cases
        if not case.valid
    )


def _named(case: Case) -> str:
    length = case.workload.get("new_tokens")
    return f"{case.variant}, {case.family}" if length is None else f"{case.variant}, {case.family} at T = {length}"
