"""A divergence in plain text: a line for each token, then where it began, why, and what that makes of the variant."""

from collections.abc import Callable, Iterator

import torch

from kvgpt.conformance.divergence import ORACLE, Divergence, Position, Side

LABEL = 18  # characters, of what a line of the summary is about
Shown = Callable[[int], str]  # a token id as it is printed


def lines(found: Divergence, shown: Shown) -> Iterator[str]:
    """The table and, after a blank line, the summary."""
    yield from _table(found, shown)
    yield ""
    for label, text in _summary(found, shown):
        yield f"{label:<{LABEL}}{text}"


def _table(found: Divergence, shown: Shown) -> Iterator[str]:
    names = [_short(side) for side in (found.variant, found.reference)]
    rows = [("", "", "largest", "", "perplexity", "", ""), ("position", "token", "difference", "best next", *names, "")]
    rows += [
        (
            str(one.place),
            shown(one.token),
            f"{one.difference:.1e}",
            " not ".join(dict.fromkeys(map(shown, one.best))),
            *map(_perplexity, one.perplexity),
            one.kind if one.kind != "bug" else "BUG",
        )
        for one in found.positions
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in (0, 2, 4, 5) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _summary(found: Divergence, shown: Shown) -> Iterator[tuple[str, str]]:
    first, bug = found.first("explained", "bug"), found.first("bug")
    if first is None:
        worst = max(found.positions, key=lambda one: one.difference)
        yield "first divergence", f"none: at most {worst.difference:.2g} apart, at {_where(worst, shown)}"
        yield "", f"rounding: {_allowed(found)}"
    elif first is not bug:
        yield "first divergence", f"{_where(first, shown)}, {first.difference:.3g} apart"
        yield "", f"explained, not rounding: {_allowed(found)}"
    side = found.variant if bug is None else _at_fault(found, bug)
    if bug is not None:
        yield "first divergence" if first is bug else "first bug", _where(bug, shown)
        error = f"{side.name} is {side.errors[bug.place]:.3g} from its own right answer"
        yield "", f"a bug, not rounding: {error}, {side.allowed:.3g} is allowed"
    yield "allowed, and why", f"{side.rule.value:g} {side.rule.unit}"
    yield "", side.rule.derivation
    yield from _agreement(found, shown)
    names = [f"{_short(one)} {_last(found, number)}" for number, one in enumerate((found.variant, found.reference))]
    yield "perplexity", f"{', '.join(names)}, over {len(found.positions)} predictions"
    yield from _verdict(found)


def _verdict(found: Divergence) -> Iterator[tuple[str, str]]:
    ours, theirs, bug = found.variant, found.reference, found.first("bug")
    if bug is not None:
        side = _at_fault(found, bug)
        departs = f"{side.name} departs from its own right answer at position {bug.place}"
        yield "verdict", f"BUG: {departs}, and is wrong at {len(side.wrong)} of {len(found.positions)}"
        return
    alone, dtype = theirs.name == ORACLE, ours.logits.dtype
    names = ours.name if alone else f"{ours.name} and {theirs.name}"
    if found.kind == "rounding":
        yield "verdict", f"agreed: {names} differ{'s' * alone} by no more than rounding"
    else:
        reasons = [
            f"{what} ({ours.name}: {mine or 'none'}, {theirs.name}: {other or 'none'})"
            for what, (mine, other) in found.declared.items()
        ]
        errors = " and ".join(f"{float(side.errors.max()):.2g}" for side in (ours, theirs))
        yield "verdict", f"explained by {' and '.join(reasons)}"
        yield "", f"no bug: {names} keep to their own right answers within {errors}"
    if dtype != torch.float64:  # what is smaller than the dtype's own noise is not proven absent
        yield "", f"a bug that moves no logit by more than {ours.rounding:.2g} passes in {dtype}; float64 would show it"


def _agreement(found: Divergence, shown: Shown) -> Iterator[tuple[str, str]]:
    apart = [one for one in found.positions if one.best[0] != one.best[1]]
    if not apart:
        yield "best next token", f"the same at all {len(found.positions)} positions"
        return
    one = apart[0]
    best = " not ".join(map(shown, one.best))
    yield "best next token", f"another at {len(apart)} of {len(found.positions)} positions, first {best} at {one.place}"
    margin = f"here {one.margin:.2g} and {2 * one.difference:.2g}"
    yield "", f"only possible where the reference's two best are within twice the difference: {margin}"


def _at_fault(found: Divergence, bug: Position) -> Side:
    return found.variant if bug.place in found.variant.wrong else found.reference


def _where(position: Position, shown: Shown) -> str:
    return f"position {position.place}, after {shown(position.token)}"


def _allowed(found: Divergence) -> str:
    each = [f"{side.name} {side.rounding:.3g}" for side in (found.variant, found.reference)]
    apart = f"{found.allowed:.3g} apart is allowed"
    return apart if found.reference.name == ORACLE else f"{apart}, {' and '.join(each)}"


def _short(side: Side) -> str:
    """A name for a column: of ``package.module:Class+cla2`` what follows the module."""
    return side.name.rpartition(":")[2]


def _last(found: Divergence, side: int) -> str:
    return _perplexity(found.positions[-1].perplexity[side])


def _perplexity(value: float) -> str:
    return f"{value:.4f}" if value < 1e6 else f"{value:.2e}"
