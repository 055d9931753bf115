"""Times against T: the curve of each variant of a subject, as points in the unit of an axis."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite

from kvgpt import record
from kvgpt.plain import quantity
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Missing, Point
from kvgpt.report.consistency.finding import size
from kvgpt.report.select import by_variant, subjects

LONGEST = 2**53  # the last length that a float tells from the next
CREDIBLE = (1e-100, 1e100)  # values whose ratios and fits are floats too
Figure = tuple[float, tuple[float, float] | None]  # a value, and its interval where that is known
Curve = dict[int, Point]  # by T, in order
Curves = dict[str, Curve]  # by variant, as they come


@dataclass(frozen=True)
class Quantity:
    """What is drawn against T: ``metric`` in ``shown``, which is so many SI units, and how it is had from a case.

    ``degree`` is that of the polynomial in T that it follows, if what a step costs grows by as much with each token.
    """

    noun: str
    metric: str
    shown: str
    scale: float
    degree: int
    read: Callable[[Case, str], Figure | None]

    @property
    def label(self) -> str:
        return f"{self.noun} ({self.shown})"

    @property
    def most_is_best(self) -> bool:
        return record.METRICS[self.metric][1] == "higher"

    def said(self, value: float) -> str:
        """A value on the axis as a sentence has it."""
        return quantity(value * self.scale, record.METRICS[self.metric][0])


def recorded(case: Case, metric: str) -> Figure | None:
    value = case.value(metric)
    return None if value is None else (value, case.interval(metric))


def rate(case: Case, metric: str) -> Figure | None:
    """Tokens a second as recorded; what a record leaves out of it, the interval or all, follows from the total."""
    told, time = recorded(case, metric), recorded(case, "total_latency")
    tokens, rows = size(case, "new_tokens"), size(case, "batch_size")
    if (told and told[1]) or not tokens or not rows or not time or time[0] <= 0:
        return told
    work, bounds = float(tokens) * rows, time[1] or (0.0,)
    interval = (work / max(bounds), work / min(bounds)) if min(bounds) > 0 else None
    return told[0] if told else work / time[0], interval


TOTAL = Quantity("total latency", "total_latency", "ms", 1e-3, 2, recorded)
PER_TOKEN = Quantity("per-token latency", "per_token_latency", "ms", 1e-3, 1, recorded)
THROUGHPUT = Quantity("throughput", "throughput", "tokens/s", 1.0, 1, rate)


def everyone(variant: str) -> bool:
    return True


def measured(results: Results, of: Quantity, who: Callable[[str], bool] = everyone) -> dict[str, Curves]:
    """{subject: its curves}, of the variants that ``who`` accepts; Missing where nothing was measured of any.

    Of several cases at one T the first counts.
    """
    cases = [case for case in results.cases if who(case.variant) and _point(case, of)]
    if not cases:
        raise Missing(f"no {of.noun} was measured")
    return {
        subject: {variant: _curve(curve, of) for variant, curve in by_variant(group).items()}
        for subject, group in subjects(cases).items()
    }


def curves(results: Results, of: Quantity, who: Callable[[str], bool] = everyone) -> dict[str, Curves]:
    """The same, of the subjects that were measured at two lengths; Missing where none was."""
    found = measured(results, of, who)
    along = {subject: several for subject, several in found.items() if len(lengths(several)) > 1}
    if not along:
        raise Missing("a curve needs two lengths, and one was measured")
    return along


def lengths(several: Curves) -> list[int]:
    """Every T that some of these were measured at."""
    return sorted(set[int]().union(*several.values()))


def interval(point: Point) -> tuple[float, float] | None:
    return None if point.low is None or point.high is None else (point.low, point.high)


def _curve(cases: Iterable[Case], of: Quantity) -> Curve:
    points: Curve = {}
    for case in cases:
        point = _point(case, of)
        if point is not None:
            points.setdefault(int(point.x), point)
    return points


def _point(case: Case, of: Quantity) -> Point | None:
    """None for a case of another kind, and for what no clock shows, such as a time of nothing."""
    length, figure = size(case, "new_tokens"), of.read(case, of.metric) if case.family == "latency" else None
    if figure is None or length is None or length > LONGEST or not CREDIBLE[0] < figure[0] / of.scale < CREDIBLE[1]:
        return None
    bounds = [bound / of.scale for bound in figure[1] or ()]
    low, high = bounds if bounds and all(map(isfinite, bounds)) and bounds == sorted(bounds) else (None, None)
    y, batch_size = figure[0] / of.scale, size(case, "batch_size")
    return Point(float(length), y, low, high, length=length, batch_size=batch_size, cases=(case,))
