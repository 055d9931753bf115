"""Results in other shapes than the synthetic ones: fewer cases, other names, figures of one's choosing."""

from dataclasses import replace

from kvgpt.record import metric
from kvgpt.recorded import Workload

HOSTILE = "<b>$x_1$</b>\n=1+1"
STRANGER = "pkg.mod:Class+cla2"


def having(results, *variants, without=()):
    """The cases of these variants, less those of some families."""
    kept = [one for one in results.cases if one.variant in variants and one.family not in without]
    return replace(results, cases=tuple(kept))


def renamed(results, **names):
    """Some variants under names that are none of ours."""
    cases = [
        replace(one, variant=names[one.variant], canonical=names[one.variant]) if one.variant in names else one
        for one in results.cases
    ]
    return replace(results, cases=tuple(cases))


def with_figures(results, family, name, values, intervals=()):
    """The metric of a family's cases as {variant: value} says, with the intervals of {variant: (low, high)}."""
    spreads = dict(intervals)
    cases = [
        replace(
            one, metrics={**one.metrics, name: metric(name, values[one.variant], interval=spreads.get(one.variant))}
        )
        if one.family == family and one.variant in values
        else one
        for one in results.cases
    ]
    return replace(results, cases=tuple(cases))


def less(results, family, *names):
    """The cases of a family without these metrics."""
    cases = [
        replace(one, metrics={name: figure for name, figure in one.metrics.items() if name not in names})
        if one.family == family
        else one
        for one in results.cases
    ]
    return replace(results, cases=tuple(cases))


def elsewhere(results, **fields):
    """The same cases of another workload, such as another model; a field that is None is left out."""
    cases = []
    for one in results.cases:
        workload = {name: value for name, value in {**one.workload, **fields}.items() if value is not None}
        cases.append(replace(one, workload=Workload(workload, one.name)))
    return replace(results, cases=tuple(cases))


def joined(*several):
    return replace(several[0], cases=tuple(one for results in several for one in results.cases))
