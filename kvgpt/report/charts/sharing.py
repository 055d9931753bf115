"""Bytes of a sequence against perplexity, for every way to share keys and values: untrained, aligned, trained."""

from collections.abc import Iterator
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


def ways(results: Results) -> Chart:
    """A mark for each model and variant, with what it shares in its label; the reference's perplexity is a line."""
    cases = [case for case in positive(results, "sharing", METRIC) if case.value(BYTES)]
    title = "What sharing keys and values saves, and costs"
    return of_each("sharing_bytes_perplexity", title, grouped(cases, _subject).items(), _panels, _told, OTHERWISE)


def name_of(case: Case) -> str:
    """A variant of the reference's own model by its name; a model trained otherwise by its own, and what is stored."""
    model, storage = PurePath(str(case.workload["model"])).name, Variant.parse(case.variant).storage
    if case.workload["model"] == case.workload["reference"]:
        return case.variant
    return model if storage == "dense" else f"{model}, {storage}"


def reference_of(cases: list[Case]) -> Case | None:
    """The case that all others are compared with: it has no divergence from itself."""
    return next((case for case in cases if case.value("kl_divergence") is None), None)


def _subject(case: Case) -> str:
    fields = case.workload
    return f"{PurePath(str(fields['reference'])).name}, {fields['corpus']}, {fields['dtype']}, {fields['device']}"


def _panels(title: str, cases: list[Case]) -> Iterator[Panel]:
    x = Axis(f"cache of a sequence of {cases[0].workload['context']:,} tokens (kB)", low=0.0)
    y = Axis("perplexity", "log")
    series = tuple(
        Series(
            name_of(case),
            "marks",
            (point(case, METRIC, 1.0, value_of(case, BYTES) / KILO, name_of(case)),),
            variant=name_of(case),
            metric=METRIC,
        )
        for case in cases
    )
    usual = reference_of(cases)
    rules = () if usual is None else (Rule("y", value_of(usual, METRIC), label=f"{usual.variant}, nothing shared"),)
    yield Panel(title, x, y, series, rules=rules)


def _told(cases: list[Case]) -> Iterator[str]:
    changes = [(name_of(case), case.value("perplexity_change")) for case in cases if case is not reference_of(cases)]
    each = [f"{name} {100 * change:+.3g}%" for name, change in changes if change is not None]
    if each:
        yield f"perplexity against the reference's: {listed(each)}"
