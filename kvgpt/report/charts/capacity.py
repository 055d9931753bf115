"""Capacity: how many sequences fit, in multiples of the reference's, and what memory was taken by as many."""

from collections.abc import Iterator, Mapping
from typing import Any

from kvgpt.plain import quantity
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Callout, Chart, Panel, Point, Rule
from kvgpt.report.charts.measured import GIGA, LARGEST, bars, one_each, point, positive, value_of
from kvgpt.report.charts.panels import Group, of_each
from kvgpt.report.charts.relatives import relative
from kvgpt.report.consistency.finding import same_workload, size
from kvgpt.report.select import subjects

FITS = "max_batch"
NARROWEST = 0.01  # of the largest peak: what peaks differ by less than is not blown up


def sequences(results: Results) -> Chart:
    """A bar of the most sequences for each variant, the reference's as a line, and the largest multiple of it."""
    measured = [case for case in results.of("capacity", FITS) if 0 <= case.metrics[FITS]["value"] < LARGEST]
    name, title = "comparison_max_batch_capacity", "Sequences that fit"
    return of_each(name, title, _groups(measured), _sequences, _multiplied, "no capacity was measured")


def peaks(results: Results) -> Chart:
    """The peak with all sequences that fit: that of every variant is near the same end of memory."""
    name, title = "comparison_peak_memory_at_max_batch", "Peak memory with all sequences that fit"
    otherwise = "no peak memory was measured at a capacity"
    measured = positive(results, "capacity", "peak_memory")
    return of_each(name, title, _groups(measured), _peaks, _apart, otherwise)


def _groups(cases: list[Case]) -> list[Group]:
    """The cases of each workload, those of inference first."""
    together = sorted(same_workload(cases), key=lambda several: _mode(several[0]))
    return [(_title(several[0]), several) for several in together]


def _mode(case: Case) -> str:
    return str(case.workload.get("mode", "inference"))


def _title(case: Case) -> str:
    (subject,) = subjects([case])
    length, budget = size(case, "context", "new_tokens"), _budget(case)
    context = "" if length is None else f", T = {length:,}"
    memory = "" if budget is None else f", {quantity(budget, 'B')} of memory"
    return f"{_mode(case)}{context}{memory}: {subject}"


def _budget(case: Case) -> float | None:
    budget: Any = case.workload.get("memory_budget")
    known = isinstance(budget, int | float) and not isinstance(budget, bool) and 0 < budget < LARGEST
    return float(budget) if known else None


def _multiples(each: Mapping[str, Case]) -> dict[str, float]:
    """{variant: how many times as many sequences as in the reference}, of the others; empty where it holds none."""
    usual = value_of(each[REFERENCE], FITS) if REFERENCE in each else 0.0
    others = {name: value_of(case, FITS) for name, case in each.items() if name != REFERENCE}
    return {name: fits / usual for name, fits in others.items()} if usual else {}


def _sequences(title: str, cases: list[Case]) -> Iterator[Panel]:
    each = one_each(cases)
    multiples = _multiples(each)

    def place(case: Case, x: float) -> Point:
        multiple = f" ({multiples[case.variant]:.2f}x)" if case.variant in multiples else ""
        return point(case, FITS, 1.0, x, f"{value_of(case, FITS):,.0f}{multiple}")

    x, series = bars(each, FITS, place)
    usual = value_of(each[REFERENCE], FITS) if REFERENCE in each else None
    rules = () if usual is None else (Rule("y", usual, label=f"{REFERENCE}: {usual:,.0f}"),)
    callouts = [
        Callout(
            f"{multiples[name]:.2f} times as many as in {REFERENCE}",
            float(x.names.index(name)),
            value_of(each[name], FITS),
            "good",
        )
        for name in _largest(multiples)
    ]
    yield Panel(title, x, Axis("sequences that fit", low=0.0), series, rules=rules, callouts=tuple(callouts))


def _largest(multiples: Mapping[str, float]) -> list[str]:
    """The variant with the largest multiple, where that is more than the reference."""
    name = max(multiples, key=multiples.__getitem__, default="")
    return [name] if multiples.get(name, 0.0) > 1 else []


def _multiplied(cases: list[Case]) -> Iterator[str]:
    each = one_each(cases)
    multiples = _multiples(each)
    for name in _largest(multiples):
        fits, usual = (f"{value_of(each[one], FITS):,.0f}" for one in (name, REFERENCE))
        yield f"{name} holds {multiples[name]:.2f} times as many sequences as {REFERENCE}: {fits} against {usual}"
    for name, multiple in multiples.items():
        stored, shared = relative(each, name, sharing=None, align=None), relative(each, name, storage="dense")
        if stored in multiples and shared in multiples:
            product = multiples[stored] * multiples[shared]
            yield (
                f"storage and sharing together, {name}: {multiple:.2f} times; {stored} alone {multiples[stored]:.2f} "
                f"and {shared} alone {multiples[shared]:.2f}, whose product is {product:.2f}"
            )


def _peaks(title: str, cases: list[Case]) -> Iterator[Panel]:
    each = one_each(cases)
    taken = [value_of(case, "peak_memory") / GIGA for case in each.values()]
    budget = _budget(cases[0])
    shown = taken if budget is None else [*taken, budget / GIGA]
    margin = max(max(shown) - min(shown), NARROWEST * max(shown)) / 2
    y = Axis("peak memory (GB)", low=max(min(shown) - margin, 0.0), high=max(shown) + margin)

    def place(case: Case, x: float) -> Point:
        return point(case, "peak_memory", GIGA, x, quantity(value_of(case, "peak_memory"), "B"))

    x, series = bars(each, "peak_memory", place)
    rules = () if budget is None else (Rule("y", budget / GIGA, label="the memory there is"),)
    yield Panel(title, x, y, series, rules=rules)


def _apart(cases: list[Case]) -> Iterator[str]:
    taken = {name: value_of(case, "peak_memory") for name, case in one_each(cases).items()}
    least, most = min(taken, key=taken.__getitem__), max(taken, key=taken.__getitem__)
    share = f"{1 - taken[least] / taken[most]:.2%}"
    yield f"the peaks lie within {share} of the largest: {quantity(taken[least], 'B')} to {quantity(taken[most], 'B')}"
