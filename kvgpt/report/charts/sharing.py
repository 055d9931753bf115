"""Bytes of a sequence against perplexity, for every way to share keys and values: untrained, aligned, trained."""

from collections.abc import Iterator
from math import log
from pathlib import PurePath

from kvgpt.recipes import Variant
from kvgpt.recorded import Case, Results
from kvgpt.report.chart import Axis, Chart, Panel, Rule, Series
from kvgpt.report.charts.measured import point, positive, value_of
from kvgpt.report.charts.panels import of_each
from kvgpt.report.charts.phrases import listed
from kvgpt.report.select import grouped

METRIC, BYTES, KILO = "perplexity", "cache_bytes", 1e3
OTHERWISE = "no ways of sharing were compared"
NEAR = 1.35  # times the reference's perplexity: who comes as near has a panel without the others
TRAINED, TRAINED_INT8 = "trained or healed with it", "trained or healed, int8"
# What is done to keys and values -> whose look it has.
LOOKS = {
    "nothing shared": "v1",
    "shared, never trained for it": "v3",
    "queries aligned": "v3a",
    "keys and values aligned": "dense+cla2+calign",
    TRAINED: "v0",
    TRAINED_INT8: "v2",
}
ALIGNED = {None: "shared, never trained for it", "qalign": "queries aligned", "calign": "keys and values aligned"}


def ways(results: Results) -> Chart:
    """A mark for each model and variant, those near the reference once more by themselves."""
    cases = [case for case in positive(results, "sharing", METRIC) if case.value(BYTES)]
    title = "What sharing keys and values saves, and costs"
    return of_each("sharing_bytes_perplexity", title, grouped(cases, _subject).items(), _panels, _told, OTHERWISE)


def way_of(case: Case) -> str:
    """What was done to a case's keys and values."""
    variant = Variant.parse(case.variant)
    if case.workload["model"] != case.workload["reference"]:
        return TRAINED if variant.storage == "dense" else TRAINED_INT8
    return ALIGNED[variant.align] if variant.sharing else "nothing shared"


def name_of(case: Case) -> str:
    """A variant of the reference's own model by its name, another model by its own."""
    own = case.workload["model"] == case.workload["reference"]
    return case.variant if own else PurePath(str(case.workload["model"])).name


def reference_of(cases: list[Case]) -> Case | None:
    """The case that all others are compared with: it has no divergence from itself."""
    return next((case for case in cases if case.value("kl_divergence") is None), None)


def _subject(case: Case) -> str:
    fields = case.workload
    return f"{PurePath(str(fields['reference'])).name}, {fields['corpus']}, {fields['dtype']}, {fields['device']}"


def _panels(title: str, cases: list[Case]) -> Iterator[Panel]:
    usual = reference_of(cases)
    near = [] if usual is None else [case for case in cases if _apart(case, usual) <= log(NEAR)]
    if usual is None or not 1 < len(near) < len(cases):
        yield _panel(title, cases, usual, Axis("perplexity", "log"), cases)
        return
    yield _panel(title, cases, usual, Axis("perplexity", "log"), [case for case in cases if case not in near])
    named = [case for case in near if way_of(case) != TRAINED_INT8]
    yield _panel(f"the same, up to {NEAR:g} times {usual.variant}'s", near, usual, Axis("perplexity"), named)


def _apart(case: Case, usual: Case) -> float:
    return abs(log(value_of(case, METRIC) / value_of(usual, METRIC)))


def _panel(title: str, cases: list[Case], usual: Case | None, y: Axis, named: list[Case]) -> Panel:
    """Of ``cases``, those ``named`` have their names beside them."""
    x = Axis(f"cache of a sequence of {cases[0].workload['context']:,} tokens (kB)", low=0.0)
    found = grouped(cases, way_of)
    series = tuple(
        Series(
            way,
            "marks",
            tuple(
                point(case, METRIC, 1.0, value_of(case, BYTES) / KILO, name_of(case) if case in named else "")
                for case in found[way]
            ),
            variant=look,
            metric=METRIC,
        )
        for way, look in LOOKS.items()
        if way in found
    )
    rules = () if usual is None else (Rule("y", value_of(usual, METRIC), label="nothing shared"),)
    return Panel(title, x, y, series, rules=rules)


def _told(cases: list[Case]) -> Iterator[str]:
    usual = reference_of(cases)
    changes = [
        (name_of(case), value_of(case, "perplexity_change"))
        for case in cases
        if case is not usual and case.value("perplexity_change") is not None and way_of(case) != TRAINED_INT8
    ]
    if changes:
        each = listed([f"{name} {100 * change:+,.1f}%" for name, change in changes])
        yield f"perplexity against the reference's: {each}"
