"""Pulses: what records say of how fast their machine was while they were measured; see :mod:`kvgpt.measure.calm`."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

LIMIT = 1.25  # times the best pulse: what disturbs is 1.4 and more, a processor that warms up stays below
Pulse = Mapping[str, float]  # kind of work -> seconds


def slowness(pulse: Pulse, best: Pulse) -> float:
    """Times as long as ``best`` that the slowest kind of work took; 1 where nothing is known of either."""
    return max((seconds / best[kind] for kind, seconds in pulse.items() if kind in best), default=1.0)


def folded(pulses: Sequence[Pulse]) -> dict[str, float]:
    """The median of each kind that all of them have."""
    kinds = [kind for kind in pulses[0] if all(kind in pulse for pulse in pulses)] if pulses else []
    return {kind: median(pulse[kind] for pulse in pulses) for kind in kinds}


def of_passes(passes: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Of each pass, entries of a results file by name, how slow each case's machine was beside that of other passes."""
    pulses = [
        {name: entry["extra_info"]["kvgpt"].get("details", {}).get("pulse", {}) for name, entry in one.items()}
        for one in passes
    ]
    best = dict[str, dict[str, float]]()
    for one in pulses:
        for name, pulse in one.items():
            known = best.setdefault(name, {})
            known |= {kind: min(seconds, known.get(kind, seconds)) for kind, seconds in pulse.items()}
    return [{name: slowness(pulse, best[name]) for name, pulse in one.items()} for one in pulses]
