"""Bytes against T: the peak of a decode step, the cache alone, and how many tokens a megabyte holds."""

from collections.abc import Iterator

from kvgpt.plain import quantity
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Callout, Chart, Panel, Point
from kvgpt.report.charts import saving
from kvgpt.report.charts.measured import (
    MEGA,
    PAIR,
    by_length,
    curves,
    length_of,
    lengths,
    point,
    positive,
    stood,
    value_of,
    with_length,
)
from kvgpt.report.charts.panels import Group, of_each
from kvgpt.report.charts.phrases import difference, listed, percent
from kvgpt.report.charts.series import equation, fitted, with_line
from kvgpt.report.consistency.finding import size
from kvgpt.report.select import subjects

PEAK = "peak_memory"
UNMEASURED = "no peak memory was measured"


def key(results: Results) -> Chart:
    """Peak memory against T, and beside it the cache's own bytes."""
    return of_each("KEY_comparison_vram", "Memory against T", _subjects(results), _both, _overview, UNMEASURED)


def compared(results: Results) -> Chart:
    """Peak memory against T with the straight line through each variant's: its slope is what a token adds."""
    return of_each("comparison_vram", "Peak memory and its growth", _subjects(results), _fitted, _slopes, UNMEASURED)


def growth(results: Results) -> Chart:
    """How much more than at its smallest T the reference takes, and so the model without a cache."""
    otherwise = f"neither {' nor '.join(PAIR)} has its memory measured at two lengths"
    return of_each("vram_growth_v0_v1", "Growth of peak memory", _of(results, *PAIR), _growth, _growths, otherwise)


def efficiency(results: Results) -> Chart:
    """Tokens, of all sequences, for each megabyte of peak memory."""
    name, title = "comparison_memory_efficiency", "Tokens per megabyte"
    return of_each(name, title, _subjects(results), _efficiency, _most_efficient, UNMEASURED)


def single(results: Results, variant: str) -> Chart:
    """Peak memory of one variant against T, and the straight line through it."""
    name, title = f"vram_vs_T_{variant}", f"Peak memory of {variant}"
    return of_each(name, title, _of(results, variant), _fitted, _alone, f"no peak memory of {variant} was measured")


def _subjects(results: Results) -> list[Group]:
    return list(subjects(with_length(positive(results, "memory", PEAK))).items())


def _of(results: Results, *variants: str) -> list[Group]:
    kept = [(title, [case for case in cases if case.variant in variants]) for title, cases in _subjects(results)]
    return [(title, cases) for title, cases in kept if cases]


def _peak(case: Case) -> Point:
    return point(case, PEAK, MEGA, length_of(case))


def _both(title: str, cases: list[Case]) -> Iterator[Panel]:
    yield Panel(title, lengths(cases), Axis("peak memory (MB)"), curves(cases, PEAK, _peak))
    held = [case for case in cases if "cache_bytes" in case.metrics]
    if held:
        own = curves(held, "cache_bytes", lambda case: point(case, "cache_bytes", MEGA, length_of(case)))
        yield Panel(f"{title}: the cache alone", lengths(held), Axis("cache (MB)", low=0.0), own)


def _fitted(title: str, cases: list[Case]) -> Iterator[Panel]:
    measured = curves(cases, PEAK, _peak)
    series = [one for curve in measured for one in with_line(curve, in_legend=len(measured) == 1)]
    yield Panel(title, lengths(cases), Axis("peak memory (MB)"), tuple(series))


def _growth(title: str, cases: list[Case]) -> Iterator[Panel]:
    ends = _ends(cases)
    if not ends:
        return

    def more(case: Case) -> float:
        return value_of(case, PEAK) - value_of(ends[case.variant][0], PEAK)

    grown = [case for case in cases if case.variant in ends]
    callouts = [
        Callout(
            f"{name}: {difference(more(last), 'B')} at T = {length_of(last):,}",
            float(length_of(last)),
            more(last) / MEGA,
        )
        for name, (_, last) in ends.items()
    ]
    y = Axis("growth of peak memory (MB)")
    series = curves(grown, None, lambda case: stood(case, length_of(case), more(case) / MEGA))
    yield Panel(title, Axis("new tokens T"), y, series, callouts=tuple(callouts))


def _efficiency(title: str, cases: list[Case]) -> Iterator[Panel]:
    series = curves(cases, None, lambda case: stood(case, length_of(case), _tokens_per_megabyte(case)))
    yield Panel(title, lengths(cases), Axis("tokens per MB of peak memory", low=0.0), series)


def _tokens_per_megabyte(case: Case) -> float:
    return (size(case, "batch_size") or 1) * length_of(case) / value_of(case, PEAK) * MEGA


def _ends(cases: list[Case]) -> dict[str, tuple[Case, Case]]:
    """{variant: its cases of the smallest and the largest T}, where these are two."""
    return {name: (curve[0], curve[-1]) for name, curve in by_length(cases).items() if len(curve) > 1}


def _added(cases: list[Case]) -> dict[str, float]:
    """{variant: bytes that its peak grows by}."""
    return {name: value_of(last, PEAK) - value_of(first, PEAK) for name, (first, last) in _ends(cases).items()}


def _overview(cases: list[Case]) -> Iterator[str]:
    added = [f"{name} {difference(more, 'B')}" for name, more in _added(cases).items()]
    if added:
        yield f"change of the peak from the smallest to the largest T: {listed(added)}"
    yield from saving.told([curve[-1] for curve in by_length(cases).values()])


def _slopes(cases: list[Case]) -> Iterator[str]:
    found = {curve.name: fitted(curve.points, 1) for curve in curves(cases, PEAK, _peak)}
    slopes = {name: fit.coefficients[0] * MEGA for name, fit in found.items() if fit is not None}
    if slopes:
        each = [f"{name} {quantity(slope, 'B')}" for name, slope in slopes.items()]
        yield f"each token adds to the peak: {listed(each)}"


def _growths(cases: list[Case]) -> Iterator[str]:
    for name, (first, last) in _ends(cases).items():
        more = value_of(last, PEAK) - value_of(first, PEAK)
        relative = percent(more / value_of(first, PEAK))
        span = f"from T = {length_of(first):,} to {length_of(last):,}"
        yield f"the peak of {name} changes by {difference(more, 'B')} ({relative}) {span}"
    added = _added(cases)
    if len(added) == len(PAIR) and min(added.values()) > 0:
        least, most = sorted(added, key=added.__getitem__)
        yield f"the peak of {most} grows {added[most] / added[least]:.2f} times as much as that of {least}"


def _alone(cases: list[Case]) -> Iterator[str]:
    for curve in curves(cases, PEAK, _peak):
        fit = fitted(curve.points, 1)
        if fit is not None:
            yield f"in MB, {equation(fit)}"
    yield from _growths(cases)


def _most_efficient(cases: list[Case]) -> Iterator[str]:
    longest = max(map(length_of, cases))
    held = {case.variant: _tokens_per_megabyte(case) for case in cases if length_of(case) == longest}
    ranked = [f"{name} {held[name]:.3g}" for name in sorted(held, key=held.__getitem__, reverse=True)]
    yield f"tokens per MB at T = {longest:,}: {listed(ranked)}"
