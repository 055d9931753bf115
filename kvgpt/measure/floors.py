"""Floors: each time beside the least that its bytes and operations allow on this device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kvgpt.costs import Demand, total
from kvgpt.measure.roof import Roof
from kvgpt.record import metric

NAMES = {  # a time -> its floor, and the fraction of it that was reached
    "per_token_latency": ("floor", "fraction_of_floor"),
    "time_to_first_token": ("time_to_first_token_floor", "time_to_first_token_fraction"),
    "total_latency": ("total_latency_floor", "total_latency_fraction"),
}
TOLERANCE = 1.03  # a floor may be too high by as much: its bandwidth is measured too


@dataclass(frozen=True)
class Claim:
    """A time of a record, and what it was spent on: ``steps`` one after the other, of whose time it is a ``share``."""

    time: str
    steps: Sequence[Demand]
    working_set: float
    share: float = 1.0


class Floors:
    """The floors of a run, worked out as each case ends, and again at the end: the best probe may be the last."""

    def __init__(self, probe: Callable[[], Roof], last_level_cache: int | None = None) -> None:
        """``last_level_cache`` in bytes: a working set that fits is marked, since memory does not bound its speed."""
        self.roof = probe()
        self.last_level_cache = last_level_cache
        self._probe = probe
        self._judged: list[tuple[dict[str, Any], Claim, float | None]] = []
        self._shown: list[dict[str, Any]] = []

    def judge(self, record: dict[str, Any], claim: Claim) -> None:
        """Put the claim's floor beside its time.

        Where the record's details say how fast memory was read between its rounds, a time that memory bounds is held to
        that: on a machine that is shared, no other moment tells what this one allowed.
        """
        details = record.setdefault("details", {})
        details["working_set"] = claim.working_set
        read = details.get("read_bandwidth")
        if self.last_level_cache is not None:
            details["in_cache"] = claim.working_set <= self.last_level_cache
        if details.get("in_cache", True):
            read = None
        self._judged.append((record, claim, read))
        self._set(record["metrics"], claim, read)

    def show(self, record: dict[str, Any]) -> None:
        """Put the roof itself into a record: how fast memory is read and copied, and, in ``details``, every block."""
        self._shown.append(record)
        self._reveal(record)

    def finish(self) -> None:
        """Probe once more, and hold all other times to the best of all probes; what is under its floor is not valid."""
        self.roof.raise_to(self._probe())
        for record in self._shown:
            self._reveal(record)
        for record, claim, read in self._judged:
            least, time = self._set(record["metrics"], claim, read), record["metrics"][claim.time]["value"]
            if time * TOLERANCE < least:
                note = f"{claim.time} of {time:.4g} s is under its floor of {least:.4g} s"
                record["validity"] = {"ok": False, "notes": [*record["validity"]["notes"], note]}

    def _reveal(self, record: dict[str, Any]) -> None:
        rates = {"read_bandwidth": self.roof.bandwidth(max(self.roof.read)), "copy_bandwidth": self.roof.copy}
        record["metrics"] |= {name: metric(name, rate) for name, rate in rates.items()}
        blocks = {str(size): self.roof.bandwidth(size) for size in sorted(self.roof.read)}
        record["details"] = {**record.get("details", {}), "read": blocks}

    def _set(self, metrics: dict[str, Any], claim: Claim, read: float | None) -> float:
        floor, fraction = NAMES[claim.time]
        least = claim.share * self.roof.seconds(claim.steps, claim.working_set, read)
        metrics[floor] = metric(floor, least, kind="modelled")
        metrics[fraction] = metric(fraction, least / metrics[claim.time]["value"])
        return least


def work(steps: Sequence[Demand], seconds: float) -> dict[str, dict[str, Any]]:
    """Operations and traffic of these steps from their closed forms, and the rate that their measured time comes to."""
    done = total(steps)
    return {
        "flops": metric("flops", done.flops, kind="modelled"),
        "dram_bytes": metric("dram_bytes", done.bytes, kind="modelled"),
        "arithmetic_intensity": metric("arithmetic_intensity", done.flops / done.bytes, kind="modelled"),
        "achieved_flops": metric("achieved_flops", done.flops / seconds),
    }
