"""Judging: each metric of each case by its limit. What is counted is compared exactly, times by their passes.

Times of :data:`times.FEWEST` passes or more a side are judged by their interval: WORSE or BETTER where the ratio is
beyond the limit and the interval excludes 1, SAME where all of it is within the limit, else UNDECIDED. Of fewer passes
nobody knows the noise: a change within twice the limit is SAME, one beyond four times the limit WORSE or BETTER. What a
machine that was slower did, as pulses tell, is taken off as far as passes show how much it is, and else allowed for;
where it was much slower, a time is UNDECIDED.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log1p

from kvgpt.record import METRICS
from kvgpt.recorded import Case, Results
from kvgpt.report.gate import pairing, times
from kvgpt.report.gate.limits import Limit, held_to
from kvgpt.report.gate.outcome import Comparison, Judged, Word
from kvgpt.report.gate.slower import Slower

SLIGHT, LARGE = 2, 4  # times the limit: of a change that few passes leave open, the ends
TOLD = 0.001  # what pulses explain and is less goes without saying
Interval = tuple[float, float]


@dataclass(frozen=True)
class Matter:
    """One metric of a pair, yet to be judged."""

    base: Case
    new: Case
    limit: Limit

    def value(self, case: Case) -> float:
        return float(case.metrics[self.limit.metric]["value"])

    def passes(self, case: Case) -> list[list[float]]:
        return case.metrics[self.limit.metric].get("processes") or [[self.value(case)]]

    @property
    def timed(self) -> bool:
        """Whether it varies from run to run: what is measured in seconds does."""
        figure = self.base.metrics[self.limit.metric]
        return figure["unit"] in ("s", "token/s", "FLOP/s", "B/s") and figure["kind"] == "measured"

    @property
    def slower(self) -> Slower:
        """By the pulses of all passes together."""
        return Slower.of(*(case.details.get("pulse", {}) for case in (self.base, self.new)))

    @property
    def lower_is_better(self) -> bool:
        return bool(self.base.metrics[self.limit.metric]["better"] == "lower")

    @property
    def count(self) -> int:
        """Passes of the side that has fewer."""
        return min(len(self.passes(self.base)), len(self.passes(self.new)))

    @property
    def in_time(self) -> times.Timed:
        """Its passes, with the pulses of each where they are known."""
        base, new = (self.passes(case) for case in (self.base, self.new))
        of_base, of_new = (case.details.get("pulses", ()) for case in (self.base, self.new))
        known = (len(of_base), len(of_new)) == (len(base), len(new))
        return times.Timed(base, new, (of_base, of_new) if known else None)

    @property
    def in_passes(self) -> bool:
        """Whether passes can decide: there are enough, and every time has a ratio."""
        samples = (sample for case in (self.base, self.new) for passed in self.passes(case) for sample in passed)
        return self.count >= times.FEWEST and all(sample > 0 for sample in samples)


def compare(
    base: Results, new: Results, limits: Sequence[Limit] = (), paired: bool = False, alarm: float = times.ALARM
) -> Comparison:
    """Judge ``new`` by ``base``. ValueError where nothing of the two can be compared.

    ``paired`` where pass i of both was measured side by side. With a chance of ``alarm`` at most, any case with
    enough passes is called WORSE or BETTER though nothing differs.
    """
    remarks = pairing.check_devices(base, new)
    found, only_new = pairing.pairs(base, new)
    judged, matters = list[Judged](), list[Matter]()
    for pair in found:
        if pair.new is None:
            judged.append(Judged(pair.base.name, "MISSING", "the new results do not have it"))
        elif pair.unlike:
            judged.append(Judged(pair.base.name, "INCOMPARABLE", pair.unlike))
        else:
            for limit in held_to(pair.base, limits):
                if limit.metric in pair.new.metrics:
                    matters.append(Matter(pair.base, pair.new, limit))
                else:
                    reason = "the new results do not have it"
                    judged.append(Judged(pair.base.name, "MISSING", reason, limit.metric))
    unknown = [limit.metric for limit in limits if not any(limit.metric in case.metrics for case in base.cases)]
    if unknown:
        raise ValueError(f"{base.path}: no case has {', '.join(unknown)}, for which a limit was given")
    in_passes = [matter for matter in matters if matter.timed and matter.in_passes]
    found_by = times.ratios([matter.in_time for matter in in_passes], paired, alarm)
    changes = dict(zip(map(id, in_passes), found_by, strict=True))
    judged += [_judge(matter, changes.get(id(matter))) for matter in matters]
    order = {case.name: place for place, case in enumerate(base.cases)}
    judged.sort(key=lambda one: order[one.case])
    return Comparison(
        str(base.path), str(new.path), tuple(judged), tuple(case.name for case in only_new), tuple(remarks)
    )


def _judge(matter: Matter, change: times.Change | None) -> Judged:
    base, new = matter.value(matter.base), matter.value(matter.new)
    ratio = new / base if base else None
    interval: Interval | None = None
    slower = matter.slower if change is None or change.slower is None else change.slower
    raised, lowered = slower.changed(matter.lower_is_better)
    if change is not None:
        base, new = (times.usual(matter.passes(case)) for case in (matter.base, matter.new))
        ratio, interval = change.ratio, (change.interval[0] / raised, change.interval[1] * lowered)
        word, reason = _by_interval(matter, ratio, interval)
        if abs(change.explained - 1) > TOLD:
            reason += f", whose pulses explain another {change.explained - 1:+.1%}"
    elif matter.timed:
        word, reason = _by_few(matter, (base, new), (raised, lowered))
    else:
        word, reason = _exactly(matter, base, new)
    if matter.timed and slower.reason:
        word, reason = "UNDECIDED", slower.reason
    metric = matter.limit.metric
    unit = METRICS[metric][0]
    return Judged(matter.base.name, word, reason, metric, unit, base, new, ratio, interval, str(matter.limit))


def _by_interval(matter: Matter, ratio: float, interval: Interval) -> tuple[Word, str]:
    base = matter.value(matter.base)
    floor, (low, high) = log1p(matter.limit.allowed(base) / abs(base)), map(log, interval)
    by = f"by {matter.count} passes a side"
    change = log(ratio)
    if abs(change) > floor and low * high > 0:
        return _direction(matter, change), by
    return ("SAME" if -floor <= low and high <= floor else "UNDECIDED"), by


def _by_few(matter: Matter, figures: Interval, allowance: Interval) -> tuple[Word, str]:
    (base, new), (raised, lowered) = figures, allowance
    allowed, change = matter.limit.allowed(base), abs(new - base)
    passes = "pass" if matter.count == 1 else "passes"
    by = f"by {matter.count} {passes}: {times.FEWEST} a side decide smaller changes"
    if change <= SLIGHT * allowed:
        return "SAME", by
    beyond = new / raised - base if new > base else base - new * lowered
    return (_direction(matter, new - base) if beyond > LARGE * allowed else "UNDECIDED"), by


def _exactly(matter: Matter, base: float, new: float) -> tuple[Word, str]:
    if abs(new - base) <= matter.limit.allowed(base):
        return "SAME", "counted"
    return _direction(matter, new - base), "counted"


def _direction(matter: Matter, change: float) -> Word:
    """Better or worse, by which the metric itself says is better."""
    return "WORSE" if (change > 0) == matter.lower_is_better else "BETTER"
