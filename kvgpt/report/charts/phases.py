"""The time of each phase, variant by variant: side by side, upon one another, and with what stands out."""

from collections.abc import Callable, Iterator, Mapping

from kvgpt.plain import quantity
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Callout, Chart, Form, Panel, Rule, Series, Zone
from kvgpt.report.charts.measured import MILLI, one_each, point
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phase_times import PHASES, UNMEASURED, groups, times_of, whole, wholes
from kvgpt.report.charts.phrases import listed, percent
from kvgpt.report.charts.remarks import remarks

TIME = Axis("time (ms)", low=0.0)
ALIKE = 0.05  # a total that is above the reference's by no more is no slower
LEGIBLE = 0.05  # of a stack: a thinner slice has no room for a label


def side_by_side(results: Results) -> Chart:
    """A bar for each phase of each variant."""
    name, title = "per_phase_breakdown_bar", "Time of each phase"
    return of_each(name, title, groups(results), _side_by_side, _totals, UNMEASURED)


def stacked(results: Results) -> Chart:
    """The phases of each variant upon one another, with their shares of the whole."""
    name, title = "per_phase_breakdown_stacked", "Where the time goes"
    return of_each(name, title, groups(results), _stacked, _totals, UNMEASURED)


def with_insights(results: Results) -> Chart:
    """The bars with remarks on those that stand out, and the variants that are as fast as the reference told from
    those that are slower.
    """
    name, title = "per_phase_breakdown_with_insights", "Time of each phase, and what stands out"
    return of_each(name, title, groups(results), _explained, _explanations, UNMEASURED)


def _side_by_side(title: str, cases: list[Case]) -> Iterator[Panel]:
    each = one_each(cases)
    yield Panel(title, _names(each), TIME, _series(each, "bars", lambda case, phase: ""))


def _stacked(title: str, cases: list[Case]) -> Iterator[Panel]:
    each = one_each(cases)
    yield Panel(title, _names(each), TIME, _series(each, "stack", _share))


def _explained(title: str, cases: list[Case]) -> Iterator[Panel]:
    each = one_each(cases)
    names, totals = list(each), wholes(each)
    reference = totals.get(REFERENCE)
    rules = () if reference is None else (Rule("y", reference / MILLI, label=f"{REFERENCE} in all"),)
    zones = [] if reference is None else [_zone(names.index(name), totals[name] / reference) for name in totals]
    callouts = [
        Callout(one.text, float(names.index(one.variant)), times_of(each[one.variant])[one.phase] / MILLI, one.tone)
        for one in remarks(each)
    ]
    bars = _series(each, "bars", lambda case, phase: "")
    yield Panel(title, _names(each), TIME, bars, tuple(zones), rules, tuple(callouts))


def _zone(place: int, ratio: float) -> Zone:
    """Around all bars of a variant, with its total against the reference's."""
    return Zone("x", place - 0.5, place + 0.5, "good" if ratio <= 1 + ALIKE else "poor", percent(ratio - 1))


def _names(each: Mapping[str, Case]) -> Axis:
    return Axis("variant", "names", names=tuple(each))


def _share(case: Case, phase: str) -> str:
    total, time = whole(case), times_of(case)[phase]
    return "" if total is None or time < LEGIBLE * total else f"{time / total:.0%}"


def _series(each: Mapping[str, Case], form: Form, label: Callable[[Case, str], str]) -> tuple[Series, ...]:
    """A series for each phase that any of these was timed in."""
    made = []
    for phase, shown in PHASES.items():
        metric = f"phase_{phase}"
        points = tuple(
            point(case, metric, MILLI, place, label(case, phase))
            for place, case in enumerate(each.values())
            if phase in times_of(case)
        )
        if points:
            made.append(Series(shown, form, points, phase=phase, metric=metric))
    return tuple(made)


def _totals(cases: list[Case]) -> Iterator[str]:
    totals = wholes(one_each(cases))
    reference = totals.get(REFERENCE)
    apart = {
        name: "" if reference is None or name == REFERENCE else f" ({percent(total / reference - 1)})"
        for name, total in totals.items()
    }
    if totals:
        against = "" if reference is None else f", with the change against {REFERENCE}"
        told = [f"{name} {quantity(total, 's')}{apart[name]}" for name, total in totals.items()]
        yield f"all phases together{against}: {listed(told)}"


def _explanations(cases: list[Case]) -> Iterator[str]:
    for one in remarks(one_each(cases)):
        yield f"{one.variant}, {one.text}"
    yield from _totals(cases)
