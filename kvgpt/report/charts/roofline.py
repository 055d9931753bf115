"""The roofline: what each variant does a second against what it does a byte, under the ceilings of the same run.

Both axes are logarithmic. Along a diagonal a second moves the same bytes, as fast as a block of one size was read; the
flat roof is the rate of matrix products. Where the two meet is the ridge: to its left memory is what a step waits for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kvgpt.plain import quantity
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report import original_roofline as original
from kvgpt.report.chart import Axis, Chart, Missing, Panel, Point, Rule, Series, Zone
from kvgpt.report.charts.measured import positive, stood
from kvgpt.report.charts.panels import chart
from kvgpt.report.charts.phrases import listed
from kvgpt.report.select import axis, grouped, models

GIGA = 1e9
ROOM = 3.0  # times beyond the outermost points and the ridge
START = 2.0  # times the left end is where diagonals are named; as far from the right end are the others
ALIKE = 1.5  # blocks that are read at rates within this factor have one line
PHASES = {"prefill": False, "decode": True}  # phase -> whether its marks are hollow
SIGNS = {"batch_size": "B", "context": "S"}
FRACTIONS = {"prefill": "time_to_first_token_fraction", "decode": "fraction_of_floor"}
X = "operations a byte (FLOP/B)"
WITHOUT = "no point of a roofline was measured"
MISSED = (
    "hollow: the original's points as published, without any tensor-core operation, under the roof of an A100; filled: "
    "the same steps by closed form at the published times, under the A6000's own, for the shortest and the longest "
    "context that they can have had"
)


@dataclass(frozen=True)
class Ceilings:
    """What a device does at best: bytes a second by size of the block in bytes, operations a second by dtype."""

    read: Mapping[int, float]
    matmul: Mapping[str, float]

    def bandwidth(self, working_set: float) -> float:
        """At which a working set of so many bytes is read: that of the largest block that is no larger."""
        fitting = max((size for size in self.read if size <= working_set), default=min(self.read))
        return self.read[fitting]

    def sizes(self, rate: float) -> str:
        """Of the blocks that are read at about this rate."""
        return _sizes([size for size, other in sorted(self.read.items()) if max(other / rate, rate / other) < ALIKE])


def measured(results: Results) -> Chart:
    """A panel for each model, dtype and device: prefill filled, decode hollow."""
    return chart("roofline", "Roofline", _subjects(results), _described)


def beside_original(results: Results) -> Chart:
    """The same, and beside it the original's three points: as published, and as they must have been."""
    subjects: list[tuple[str, list[Case] | None]] = [*_subjects(results), ("the original, RTX A6000", None)]
    title = "Roofline, and the original's"
    return chart("roofline_beside_the_original", title, subjects, lambda name, cases: _either(name, cases, results))


def _either(title: str, cases: "list[Case] | None", results: Results) -> tuple[Sequence[Panel], Iterable[str]]:
    return ([_original(title)], [MISSED]) if cases is None else _described(title, cases)


def _subjects(results: Results) -> list[tuple[str, list[Case]]]:
    """{subject: its points, and the ceilings of its device}, of all that have points."""
    ceilings = [case for case in positive(results, "roofline", "read_bandwidth") if "read" in case.details]
    points = [case for case in positive(results, "roofline", "achieved_flops") if case.workload.get("phase") in PHASES]
    if not points:
        raise Missing(WITHOUT)
    if not ceilings:
        raise Missing("no ceiling of a roofline was measured")
    return [(title, [*ceilings, *cases]) for title, cases in models(points).items()]


def _described(title: str, cases: list[Case]) -> tuple[Sequence[Panel], Iterable[str]]:
    points = [case for case in cases if "achieved_flops" in case.metrics]
    roof, dtype = _ceilings([case for case in cases if case not in points]), str(points[0].workload.get("dtype"))
    if dtype not in roof.matmul:
        raise Missing(f"no rate of products in {dtype} was measured")
    size = max(float(case.details.get("working_set", 0)) for case in points)
    rate, peak = roof.bandwidth(size), roof.matmul[dtype]
    ridge = peak / rate
    series = [*_marks(points)]
    places = [point.x for one in series for point in one.points]
    low, high = min([*places, ridge]) / ROOM, max([*places, ridge]) * ROOM
    labels = f"{quantity(rate, 'B/s', 3)}, {roof.sizes(rate)}", f"{quantity(peak, 'FLOP/s', 3)}, {dtype}"
    ceilings = [*_roof(low, high, rate, peak, labels, low * START), *_others(low, high, roof, rate, dtype)]
    panel = Panel(
        title,
        Axis(X, "log", low, high),
        Axis("GFLOP/s", "log"),
        (*ceilings, *series),
        zones=_zones(ridge),
        rules=(Rule("x", ridge, label=f"ridge {ridge:,.3g} FLOP/B"),),
    )
    return [panel], _insights(points, size, rate, ridge)


def _ceilings(cases: Sequence[Case]) -> Ceilings:
    try:
        read = {int(size): float(rate) for case in cases for size, rate in case.details["read"].items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{cases[0].name}: record: no rates of blocks: {error}") from error
    products = {str(case.workload.get("dtype")): case.value("matmul_rate") for case in cases}
    return Ceilings(read, {dtype: rate for dtype, rate in products.items() if rate})


def _marks(points: Sequence[Case]) -> Iterator[Series]:
    """A series for each phase and variant; the reference's, or the highest, of each workload says which one it is."""
    named = {
        id(max(alike, key=lambda case: (case.variant == REFERENCE, _flops(case)))): label
        for label, alike in grouped(points, _label(points)).items()
    }
    legend = set[str]()
    for phase, hollow in PHASES.items():
        of_phase = [case for case in points if case.workload["phase"] == phase]
        for variant, cases in grouped(of_phase, _variant).items():
            marks = tuple(
                stood(case, intensity, _flops(case) / GIGA, label=named.get(id(case), ""))
                for case in cases
                for intensity in [case.metrics["arithmetic_intensity"]["value"]]
            )
            in_legend = variant not in legend
            legend.add(variant)
            yield Series(variant, "marks", marks, variant, metric="achieved_flops", faint=hollow, in_legend=in_legend)


def _label(points: Sequence[Case]) -> Callable[[Case], str]:
    """What tells points apart: the phase, and the batch size or context where there is more than one."""
    fields = {field: sign for field, sign in SIGNS.items() if len(axis(points, field)) > 1}

    def label(case: Case) -> str:
        sizes = [f"{sign} = {case.workload[field]:,}" for field, sign in fields.items() if field in case.workload]
        return ", ".join([case.workload["phase"], *sizes])

    return label


def _flops(case: Case) -> float:
    return float(case.metrics["achieved_flops"]["value"])


def _roof(low: float, high: float, rate: float, peak: float, labels: tuple[str, str], start: float) -> Iterator[Series]:
    """The roof itself, whose two sides are named: the diagonal at ``start``."""
    ridge = peak / rate
    diagonal = Point(low, low * rate / GIGA), Point(start, start * rate / GIGA, label=labels[0])
    flat = Point(ridge, peak / GIGA, label=labels[1]), Point(high, peak / GIGA)
    yield Series("roof", "fit", (*diagonal, *flat))


def _others(low: float, high: float, roof: Ceilings, rate: float, dtype: str) -> Iterator[Series]:
    """The other ceilings, dashed: blocks that are read at other rates, and products in other dtypes."""
    peak, start = roof.matmul[dtype], low * START
    for sizes, other in _levels(roof.read):
        if max(other / rate, rate / other) >= ALIKE:
            label = f"{quantity(other, 'B/s', 3)}, {sizes}"
            diagonal = Point(low, low * other / GIGA), Point(start, start * other / GIGA, label=label)
            yield Series("other ceilings", "frontier", (*diagonal, Point(peak / other, peak / GIGA)))
    for name, other in roof.matmul.items():
        if name != dtype:
            left, label = other / max(roof.read.values()), f"{quantity(other, 'FLOP/s', 3)}, {name}"
            flat = Point(high / START, other / GIGA, label=label), Point(high, other / GIGA)
            yield Series("other ceilings", "frontier", (Point(left, other / GIGA), *flat))


def _levels(read: Mapping[int, float]) -> list[tuple[str, float]]:
    """(sizes, rate) of runs of blocks that are read about as fast."""
    runs: list[list[int]] = []
    for size in sorted(read):
        if runs and read[runs[-1][0]] / read[size] < ALIKE:
            runs[-1].append(size)
        else:
            runs.append([size])
    return [(_sizes(run), read[run[-1]]) for run in runs]


def _sizes(run: Sequence[int]) -> str:
    ends = dict.fromkeys(f"{size / 2**20:,.3g}" for size in (run[0], run[-1]))
    return f"{' to '.join(ends)} MiB"


def _zones(ridge: float) -> tuple[Zone, ...]:
    return Zone("x", None, ridge, "neutral", "memory bound"), Zone("x", ridge, None, "good", "compute bound")


def _insights(points: Sequence[Case], size: float, rate: float, ridge: float) -> Iterator[str]:
    yield "filled: feeding a prompt; hollow: a decode step"
    yield (
        f"a step of {quantity(size, 'B', 3)} is read at {quantity(rate, 'B/s', 3)} at best here, "
        f"so that memory bounds what does less than {ridge:,.3g} operations a byte"
    )
    for phase, fraction in FRACTIONS.items():
        reached = [
            f"{variant} {100 * max(one.value(fraction) or 0.0 for one in cases):.2g}%"
            for variant, cases in grouped((one for one in points if one.workload["phase"] == phase), _variant).items()
            if any(fraction in one.metrics for one in cases)
        ]
        if reached:
            yield f"of its roof, {phase}: {listed(reached)}"
    counted = [case for case in points if "dram_bytes_counted" in case.metrics]
    ratios = [case.metrics["dram_bytes_counted"]["value"] / case.metrics["dram_bytes"]["value"] for case in counted]
    if ratios:
        yield f"bytes from memory, counted by the processor: {min(ratios):.2f} to {max(ratios):.2f} of the closed form"


def _variant(case: Case) -> str:
    return case.variant


def _original(title: str) -> Panel:
    """The published points under the published roof, and what they must have been under the card's own."""
    marks = list[Series]()
    for one in original.PUBLISHED:
        again = one.variant in [series.variant for series in marks]
        steps = {length: original.recomputed(one, length) for length in original.LENGTHS}
        true = tuple(
            Point(step.flops / step.bytes, step.flops / one.seconds / GIGA, label=_original_label(one, length))
            for length, step in steps.items()
        )
        as_published = Point(one.intensity, one.achieved / GIGA, label=f"{one.phase}, published")
        marks.append(Series(one.variant, "marks", true, one.variant, in_legend=not again))
        marks.append(Series(one.variant, "marks", (as_published,), one.variant, faint=True, in_legend=False))
    places = [point.x for series in marks for point in series.points]
    low, high = min(places) / ROOM, max(places) * ROOM**2
    own, claimed = original.OWN, original.CLAIMED
    labels = f"{quantity(own.bandwidth, 'B/s')}, {quantity(own.flops, 'FLOP/s')}: {own.name}", ""
    flat = f"{quantity(claimed.flops, 'FLOP/s')}, {claimed.name}"
    a100 = (
        Point(own.ridge, own.flops / GIGA),
        Point(claimed.ridge, claimed.flops / GIGA),
        Point(high / START, claimed.flops / GIGA, label=flat),
        Point(high, claimed.flops / GIGA),
    )
    return Panel(
        title,
        Axis(X, "log", low, high),
        Axis("GFLOP/s", "log"),
        (
            *_roof(low, high, own.bandwidth, own.flops, labels, own.ridge / 20),
            Series("other ceilings", "frontier", a100),
            *marks,
        ),
        zones=_zones(own.ridge),
        rules=(Rule("x", own.ridge, label=f"ridge {own.ridge:,.4g}, published as {claimed.ridge:,.4g}"),),
    )


def _original_label(one: original.Published, length: int) -> str:
    """Of the reference's alone, beside which the others lie; decoding, every length is at one place."""
    if one.variant != REFERENCE:
        return ""
    return f"prefill, {length:,} tokens" if one.phase == "prefill" else one.phase
