"""Synthetic results after a change: of a metric, of their passes, of their machine's pulses; and what a gate says."""

from dataclasses import replace

import numpy as np

FEW = {"variants": ("v1", "v2"), "lengths": (32, 64)}


def changed(results, change, family, variant=None, **workload):
    """The results after ``change(metrics)`` of these cases, which returns their new metrics."""

    def of(case):
        asked = case.family == family and variant in (None, case.variant) and workload.items() <= case.workload.items()
        return replace(case, metrics=change(dict(case.metrics))) if asked else case

    return replace(results, cases=tuple(map(of, results.cases)))


def scaled(name, factor):
    return lambda metrics: metrics | {name: {**metrics[name], "value": metrics[name]["value"] * factor}}


def in_passes(results, count, factor=1.0, seed=0):
    """The results as of ``count`` passes with 1% between them, times of decoding ``factor`` times as long."""
    drawn = np.random.default_rng(seed)

    def passes(metrics):
        value = factor * metrics["per_token_latency"]["value"]
        processes = [[value * float(np.exp(noise))] for noise in drawn.normal(0, 0.01, count)]
        figure = {**metrics["per_token_latency"], "value": value, "processes": processes}
        return metrics | {"per_token_latency": figure}

    return changed(results, passes, "latency")


def words(found):
    """{(case, metric): word} of what is not the same."""
    return {(one.case, one.metric): one.word for one in found.judged if one.word != "SAME"}


def pulsed(results, seconds):
    """The results as of a machine whose cores take so long for a pulse."""
    details = {} if seconds is None else {"pulse": {"cores": seconds, "memory": 1.0}}
    return replace(results, cases=tuple(replace(case, details=case.details | details) for case in results.cases))
