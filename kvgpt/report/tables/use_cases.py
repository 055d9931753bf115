"""Which variant to use for what: a row for each use, decided by a rule and with the figures that decided."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from kvgpt.plain import quantity
from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Results
from kvgpt.report.select import keeps_a_cache
from kvgpt.report.tables.capacity import bytes_per_sequence
from kvgpt.report.tables.standing import Field, Standing, fields
from kvgpt.report.tables.status import MARGINAL
from kvgpt.report.tables.summary import workload
from kvgpt.report.tabular import Column, Table

NOBODY = "none"
TIE = 0.03  # relative: by how much times differ without deciding anything
ROUNDING = 1e-4  # relative: the same of perplexities, which a lossless cache moves by less
COLUMNS = (Column("Use case"), Column("Version"), Column("Because"))
NOTES = (
    f"Admissible, and needed for all but research, is a perplexity at most {MARGINAL:.0%} above {REFERENCE}'s. Only "
    f"valid figures count. In production, variants within {TIE:.0%} of the lowest latency tie: then the fewest parts "
    "of the cache's name decide, then the lowest peak memory. Where batches and bytes alone decide, a variant that "
    "recomputes is left out.",
)


def _simplest(one: Standing) -> tuple[float, ...]:
    return one.canonical.count("+"), one.sound("memory", "peak_memory") or inf


def _fastest(one: Standing) -> tuple[float, ...]:
    return (one.sound("latency", "per_token_latency") or inf,)


def _bytes_per_sequence(one: Standing) -> float | None:
    case = one.case("capacity")
    return None if case is None else bytes_per_sequence(case)


@dataclass(frozen=True)
class Criterion:
    """A figure that decides. Those within ``tie`` of the best are as good as it, and the lowest ``rank`` wins."""

    name: str
    value: Callable[[Standing], float | None]
    unit: str = ""
    most: bool = False
    tie: float = 0.0
    rank: Callable[[Standing], tuple[float, ...]] = _simplest
    advantage: str = ""
    cached: bool = False

    def known(self, candidates: list[Standing]) -> dict[str, tuple[float, Standing]]:
        """{variant: its figure and itself}, of those that have one."""
        return {
            one.variant: (value, one)
            for one in candidates
            if (not self.cached or keeps_a_cache(one.variant)) and (value := self.value(one)) is not None and value > 0
        }

    def choose(self, known: dict[str, tuple[float, Standing]]) -> tuple[str, str]:
        """The best variant's name, and why it is the best."""
        best, *others = sorted(known, key=lambda name: known[name][0], reverse=self.most)
        limit = known[best][0]
        tied = [name for name, (value, _) in known.items() if abs(value - limit) <= self.tie * limit]
        chosen = min(tied, key=lambda name: self.rank(known[name][1]))
        extreme = "highest" if self.most else "lowest"
        said = f"{self.name} {self._said(known[chosen][0])}"
        if chosen != best:
            return chosen, f"{said}, tied with the {extreme} ({self._of(best, known)}) and {self.advantage}"
        following = f"the {extreme}; next {self._of(others[0], known)}" if others else "the only one"
        return chosen, f"{said}, {following}"

    def _of(self, name: str, known: dict[str, tuple[float, Standing]]) -> str:
        return f"{name}: {self._said(known[name][0])}"

    def _said(self, value: float) -> str:
        return quantity(value, self.unit) if self.unit else f"{value:.6g}"


PER_TOKEN = Criterion("per-token latency", lambda one: one.sound("latency", "per_token_latency"), "s")
SIMPLE = Criterion(PER_TOKEN.name, PER_TOKEN.value, "s", tie=TIE, advantage="simpler or smaller")
THROUGHPUT = Criterion("throughput at capacity", lambda one: one.sound("capacity", "throughput"), "token/s", most=True)
LARGEST = Criterion("largest batch", lambda one: one.sound("capacity", "max_batch"), most=True, cached=True)
DENSEST = Criterion("memory for a sequence", _bytes_per_sequence, "B", cached=True)
PERPLEXITY = Criterion(
    "perplexity",
    lambda one: one.sound("perplexity", "perplexity"),
    tie=ROUNDING,
    rank=_fastest,
    advantage="faster",
)

USES: dict[str, tuple[bool, tuple[Criterion, ...]]] = {
    # use -> whether only admissible quality will do, and what decides: the first that anybody has a figure of
    "Production inference": (True, (SIMPLE,)),
    "Latency-critical": (True, (PER_TOKEN,)),
    "High-throughput batch": (True, (THROUGHPUT, LARGEST)),
    "Long contexts, memory-bound": (True, (DENSEST, LARGEST)),
    "Research (quality)": (False, (PERPLEXITY,)),
}


def use_cases(results: Results) -> list[Table]:
    """One for each model."""
    return [_table(field) for field in fields(results)]


def _table(field: Field) -> Table:
    rows = tuple((use, *_choice(field, strict, criteria)) for use, (strict, criteria) in USES.items())
    return Table("use_cases", f"Use cases: {field.title}", COLUMNS, rows, (workload(field), *NOTES))


def _choice(field: Field, strict: bool, criteria: tuple[Criterion, ...]) -> tuple[str, str]:
    candidates = [one for one in field.standings if not strict or _admissible(field, one)]
    if not candidates:
        return NOBODY, f"no variant's valid perplexity is at most {MARGINAL:.0%} above {REFERENCE}'s"
    for criterion in criteria:
        if known := criterion.known(candidates):
            return criterion.choose(known)
    wanted = " and no ".join(criterion.name for criterion in criteria)
    return NOBODY, f"no {wanted} of {'an admissible' if strict else 'a'} variant was measured and is valid"


def _admissible(field: Field, one: Standing) -> bool:
    change = field.change(one)
    return change is not None and change <= MARGINAL
