"""Profiled steps as records hold them in their ``details``, read back and checked."""

from dataclasses import dataclass

from kvgpt.recorded import Case, Results
from kvgpt.report.select import grouped, subjects


@dataclass(frozen=True)
class Operator:
    """All calls of one operator, or kernel, in a step: the seconds that they took, their floor, what is above it."""

    name: str
    count: int
    seconds: float
    floor: float
    above: float


@dataclass(frozen=True)
class Profile:
    """A profiled step: its seconds, those in which nothing ran, and (name, begin, duration in ns) of what did."""

    seconds: float
    gaps: float
    longest_gap: float
    operators: tuple[Operator, ...]
    spans: tuple[tuple[str, int, int], ...]

    @property
    def share_of_gaps(self) -> float:
        return self.gaps / self.seconds


def profiled(results: Results) -> dict[str, list[Case]]:
    """{title: the cases of one subject and context that hold a profiled step}."""
    cases = [case for case in results.of("roofline", "kernels_per_token") if "trace" in case.details]
    return {
        f"{title}, S = {context}": alike
        for title, of_subject in subjects(cases).items()
        for context, alike in grouped(of_subject, lambda case: str(case.workload["context"])).items()
    }


def profile_of(case: Case) -> Profile:
    """The profiled step of a case; ValueError where its record has another form of it."""
    trace = case.details["trace"]
    try:
        seconds, gaps, longest = (float(trace[name]) for name in ("seconds", "gaps", "longest_gap"))
        operators = tuple(
            Operator(str(one["name"]), int(one["count"]), *(float(one[name]) for name in ("seconds", "floor", "above")))
            for one in trace["operators"]
        )
        names = [str(name) for name in trace["names"]]
        places = [map(int, span.split(":")) for span in trace["spans"].split()]
        spans = tuple((names[which], start, duration) for which, start, duration in places)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f"{case.name}: record: details of a trace that no step has: {error!r}") from error
    if seconds <= 0:
        raise ValueError(f"{case.name}: record: a profiled step of {seconds} s")
    return Profile(seconds, gaps, longest, operators, spans)
