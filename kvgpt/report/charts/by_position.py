"""Perplexity against a token's position in its window: how much of the context a variant makes use of."""

from collections.abc import Iterator
from math import exp
from typing import Any

from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Panel, Series
from kvgpt.report.charts.measured import one_each, stood
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import listed
from kvgpt.report.charts.scored import groups

DETAIL = "loss_by_position"
MOST = 100.0  # nats a token: no loss that was measured
OTHERWISE = "no loss was kept by position"


def compared(results: Results) -> Chart:
    """A curve for each variant, over stretches of positions that double."""
    cases = [case for case in results.of("perplexity", "perplexity") if stretches(case)]
    return of_each("perplexity_by_position", "Perplexity by position", groups(cases), _panels, _told, OTHERWISE)


def stretches(case: Case) -> list[tuple[float, float]]:
    """(first position, loss) of each stretch of a case that keeps them; what is no such thing is left out."""
    kept = case.details.get(DETAIL)
    return [(float(one[0]), float(one[2])) for one in kept if _is_stretch(one)] if isinstance(kept, list) else []


def _is_stretch(one: Any) -> bool:
    numbers = isinstance(one, list) and len(one) == 3 and all(type(part) in (int, float) for part in one)
    return numbers and one[0] >= 1 and abs(one[2]) < MOST


def _panels(title: str, cases: list[Case]) -> Iterator[Panel]:
    each = one_each(cases)
    ticks = sorted({first for case in each.values() for first, _ in stretches(case)})
    x, y = Axis("position in the window, from", "log2", ticks=tuple(ticks)), Axis("perplexity", "log")
    series = [
        Series(
            name,
            "line",
            tuple(stood(case, first, exp(loss)) for first, loss in stretches(case)),
            variant=name,
            metric="perplexity",
        )
        for name, case in each.items()
    ]
    yield Panel(title, x, y, tuple(series))


def _told(cases: list[Case]) -> Iterator[str]:
    ends = {name: (stretches(case)[0], stretches(case)[-1]) for name, case in one_each(cases).items()}
    each = listed([f"{name} {exp(first):.3g} to {exp(last):.3g}" for name, ((_, first), (_, last)) in ends.items()])
    yield f"perplexity from the first positions to the last: {each}"
