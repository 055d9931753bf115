"""The phases as shares: a pie of the reference, and one of the same model without a cache."""

from collections.abc import Callable, Iterator

from kvgpt.plain import quantity
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Panel, Series
from kvgpt.report.charts.measured import MILLI, PAIR, one_each, point
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phase_times import PHASES, groups, times_of, whole
from kvgpt.report.charts.phrases import listed

UNMEASURED = f"neither {' nor '.join(PAIR)} has all its phases measured"
Label = Callable[[str, float, float], str]  # of a phase, its seconds and their share


def plain(results: Results) -> Chart:
    """Each slice with its share."""
    return _chart(results, "per_phase_pie_v0_v1", "Shares of the phases", "", lambda phase, time, share: f"{share:.1%}")


def improved(results: Results) -> Chart:
    """Each slice with its name, its share and its time, and under whose title the device stands."""

    def label(phase: str, time: float, share: float) -> str:
        return f"{PHASES[phase]}: {share:.1%}, {quantity(time, 's')}"

    device = str(results.device.get("name", "an unknown device"))
    return _chart(results, "per_phase_pie_improved", "Shares and times of the phases", f", {device}", label)


def _chart(results: Results, name: str, title: str, where: str, label: Label) -> Chart:
    def pies(subject: str, cases: list[Case]) -> Iterator[Panel]:
        each = one_each(cases)
        for variant in PAIR:
            total = whole(each[variant]) if variant in each else None
            if total is not None:
                yield _pie(f"{variant}: {subject}{where}", each[variant], total, label)

    return of_each(name, title, groups(results), pies, _changes, UNMEASURED)


def _pie(title: str, case: Case, total: float, label: Label) -> Panel:
    slices = tuple(
        Series(
            PHASES[phase],
            "slices",
            (point(case, f"phase_{phase}", MILLI, 0, label(phase, time, time / total)),),
            phase=phase,
            metric=f"phase_{phase}",
        )
        for phase, time in times_of(case).items()
    )
    return Panel(title, Axis(""), Axis("time (ms)"), slices)


def _changes(cases: list[Case]) -> Iterator[str]:
    """The shares of each pie, from the largest, and which share a cache changes most."""
    shares = {}
    for variant, case in one_each(cases).items():
        total = whole(case)
        if variant in PAIR and total is not None:
            shares[variant] = {phase: time / total for phase, time in times_of(case).items()}
    for variant, parts in shares.items():
        ranked = sorted(parts, key=parts.__getitem__, reverse=True)
        yield f"{variant}: {listed([f'{PHASES[phase]} {parts[phase]:.1%}' for phase in ranked])}"
    if len(shares) == len(PAIR):
        before, after = (shares[variant] for variant in PAIR)
        phase = max(PHASES, key=lambda one: abs(after[one] - before[one]))
        shift = f"{before[phase]:.1%} in {PAIR[0]}, {after[phase]:.1%} in {PAIR[1]}"
        yield f"the share of {PHASES[phase]} differs most: {shift}"
