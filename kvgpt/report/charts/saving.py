"""Peak memory at one T: a bar for each variant, and what each takes more or less than the reference."""

from collections.abc import Callable, Iterable, Iterator

from kvgpt.plain import quantity
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Missing, Panel, Point, Rule
from kvgpt.report.charts.measured import (
    MEGA,
    bars,
    length_of,
    one_each,
    point,
    positive,
    value_of,
    with_length,
)
from kvgpt.report.charts.one_length import at_one_length, length_to_draw
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import difference, listed, percent
from kvgpt.report.charts.relatives import recipe_of
from kvgpt.report.select import axis, pick, subjects

PEAK = "peak_memory"
USUAL = 1024  # T
UNMEASURED = "no peak memory was measured"
Label = Callable[[Case, Case | None], str]  # of a case, where there is a reference beside it


def every_variant(results: Results) -> Chart:
    """A bar of the peak for each variant, each subject at its own T."""
    groups = at_one_length(with_length(positive(results, "memory", PEAK)), USUAL)
    return of_each("vram_bar_chart", "Peak memory", groups, _heights, told, UNMEASURED)


def cached_variants(results: Results) -> Chart:
    """The same of those that keep a cache, with what each saves against the reference, all at one T."""
    cases = [case for case in with_length(positive(results, "memory", PEAK)) if not _recomputes(case)]
    if not cases:
        raise Missing("no peak memory of a variant with a cache was measured")
    length = length_to_draw(axis(cases, "new_tokens"), USUAL)
    groups = subjects(pick(cases, new_tokens=length)).items()
    name, title = f"kv_variants_vram_bar_T{length}", f"Peak memory with a cache, T = {length:,}"
    return of_each(name, title, groups, _savings, told, UNMEASURED)


def told(cases: Iterable[Case]) -> Iterator[str]:
    """How far each variant's peak is from the reference's at the same T, in a sentence."""
    each = one_each(cases)
    reference = each.pop(REFERENCE, None)
    same = [] if reference is None else [case for case in each.values() if length_of(case) == length_of(reference)]
    if reference is not None and same:
        apart = listed([f"{case.variant} {_apart(case, reference)}" for case in same])
        usual = quantity(value_of(reference, PEAK), "B")
        yield f"against the {usual} of {REFERENCE} at T = {length_of(reference):,}: {apart}"


def _apart(case: Case, reference: Case) -> str:
    more = value_of(case, PEAK) - value_of(reference, PEAK)
    return f"{difference(more, 'B')} ({percent(more / value_of(reference, PEAK))})"


def _recomputes(case: Case) -> bool:
    recipe = recipe_of(case)
    return recipe is not None and recipe.recomputes


def _heights(title: str, cases: list[Case]) -> Iterator[Panel]:
    yield _panel(title, cases, lambda case, _: quantity(value_of(case, PEAK), "B"))


def _savings(title: str, cases: list[Case]) -> Iterator[Panel]:
    def saved(case: Case, reference: Case | None) -> str:
        if reference is None or case is reference:
            return quantity(value_of(case, PEAK), "B")
        return difference(value_of(case, PEAK) - value_of(reference, PEAK), "B")

    yield _panel(title, cases, saved)


def _panel(title: str, cases: list[Case], label: Label) -> Panel:
    each = one_each(cases)
    reference = each.get(REFERENCE)

    def place(case: Case, x: float) -> Point:
        return point(case, PEAK, MEGA, x, label(case, reference))

    x, series = bars(each, PEAK, place)
    rules = () if reference is None else (Rule("y", value_of(reference, PEAK) / MEGA, label=REFERENCE),)
    return Panel(title, x, Axis("peak memory (MB)", low=0.0), series, rules=rules)
