"""How the variants of one model stand at one workload: the figures that the summary shows and its rules judge by."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.select import after_one_token, axis, models, pick
from kvgpt.report.tables.capacity import by_load
from kvgpt.report.tables.perplexity import by_text, change
from kvgpt.report.tables.quotient import quotient

GROUPED: dict[str, tuple[str, Callable[[list[Case]], dict[str, list[Case]]], str]] = {
    # family -> its metric, what puts together the cases that compare, the mode that is shown where it was measured
    "capacity": ("max_batch", by_load, "inference"),
    "perplexity": ("perplexity", by_text, "autoregressive"),
}
SIZED = {"latency": "per_token_latency", "memory": "peak_memory"}


@dataclass(frozen=True)
class Standing:
    """A variant's case of each family. A figure of a case that is not valid is shown, but nothing is judged by it."""

    variant: str
    cases: Mapping[str, Case]

    def shown(self, family: str, metric: str) -> float | None:
        case = self.cases.get(family)
        return None if case is None else case.value(metric)

    def sound(self, family: str, metric: str) -> float | None:
        case = self.case(family)
        return None if case is None else case.value(metric)

    def case(self, family: str) -> Case | None:
        """The family's case, where it is valid."""
        case = self.cases.get(family)
        return case if case is not None and case.valid else None

    @property
    def canonical(self) -> str:
        return next(iter(self.cases.values())).canonical


@dataclass(frozen=True)
class Field:
    """All variants of one model, and the workload that each family's figures are of; None where it has none."""

    title: str
    length: int | None
    batch_size: int | None
    load: str | None
    text: str | None
    standings: tuple[Standing, ...]

    @property
    def reference(self) -> Standing | None:
        return next((one for one in self.standings if one.variant == REFERENCE), None)

    def change(self, one: Standing) -> float | None:
        """The perplexity relative to the reference's, less 1."""
        case, reference = one.case("perplexity"), self.reference
        return None if case is None else change(case, None if reference is None else reference.case("perplexity"))

    def ratio(self, one: Standing, family: str, metric: str) -> float | None:
        """A figure over the reference's."""
        reference = self.reference
        return None if reference is None else quotient(one.sound(family, metric), reference.sound(family, metric))


def fields(results: Results) -> list[Field]:
    """One for each model: at the smallest batch size and the largest T that time and memory have in common, and of the
    loads and the texts the one that most variants were measured at.
    """
    metrics = SIZED | {family: metric for family, (metric, _, _) in GROUPED.items()}
    measured = [case for family, metric in metrics.items() for case in results.of(family, metric)]
    return [_field(title, cases) for title, cases in models(measured).items()]


def _field(title: str, cases: list[Case]) -> Field:
    of = {family: [case for case in cases if case.family == family] for family in (*SIZED, *GROUPED)}
    of |= {family: after_one_token(of[family]) for family in SIZED}
    batch = min(_shared(of, "batch_size"), default=None)
    of |= {family: pick(of[family], batch_size=batch) for family in SIZED}
    length = max(_shared(of, "new_tokens"), default=None)
    of |= {family: pick(of[family], new_tokens=length) for family in SIZED}
    chosen = dict[str, str | None]()
    for family, (_, together, mode) in GROUPED.items():
        chosen[family], of[family] = _usual(together(of[family]), mode)
    return Field(title, length, batch, chosen["capacity"], chosen["perplexity"], _standings(of))


def _shared(of: Mapping[str, list[Case]], name: str) -> set[int]:
    """The values of a field that both time and memory were measured at, else those that either was."""
    known = [set(axis(of[family], name)) for family in SIZED if of[family]]
    return (set.intersection(*known) or set.union(*known)) if known else set()


def _usual(groups: Mapping[str, list[Case]], mode: str) -> tuple[str | None, list[Case]]:
    """Of the mode where it was measured, the group with the most variants, of equals the last."""
    rank = {title: (cases[0].workload.get("mode") == mode, len(cases)) for title, cases in groups.items()}
    best = max(reversed(rank), key=lambda title: rank[title], default=None)
    return best, [] if best is None else groups[best]


def _standings(of: Mapping[str, Iterable[Case]]) -> tuple[Standing, ...]:
    """The first case of each variant and family, variants as they come."""
    found: dict[str, dict[str, Case]] = {}
    for family, cases in of.items():
        for case in cases:
            found.setdefault(case.variant, {}).setdefault(family, case)
    return tuple(Standing(variant, cases) for variant, cases in found.items())
