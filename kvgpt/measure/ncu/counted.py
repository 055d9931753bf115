"""Figures of what was counted, held to a kernel whose bytes and operations are known, beside the closed forms.

A counter that is misread, cleared in between or multiplexed gives a number like any other. So each capture holds a read
of a block and a product of matrices; where these are counted wrong by more than 5%, so is all else, and it is withheld.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvgpt.costs import Demand
from kvgpt.measure.ncu import counters
from kvgpt.measure.ncu.exported import Range

READ, PRODUCT = "calibration__read", "calibration__product"
TOLERANCE = 0.05


@dataclass(frozen=True)
class Known:
    """What the calibration of a capture must come to: bytes that were read, operations of a product."""

    bytes: float
    flops: float


@dataclass(frozen=True)
class Figures:
    """One phase of one variant. ``withheld`` says of a figure that is None why it is."""

    name: str
    kernels: int
    seconds: float
    dram_bytes: float | None
    total_flops: float | None
    core_flops: float
    tensor_flops: float | None
    tensor_instructions: float | None
    withheld: Mapping[str, str]
    counts: Mapping[str, float]

    @property
    def arithmetic_intensity(self) -> float | None:
        return self.total_flops / self.dram_bytes if self.total_flops is not None and self.dram_bytes else None

    @property
    def achieved_flops(self) -> float | None:
        return None if self.total_flops is None or not self.seconds else self.total_flops / self.seconds


def figures(ranges: Mapping[str, Range], known: Known | None) -> list[Figures]:
    """What every range but the calibration comes to. Without ``known``, nothing can be held to anything."""
    doubts = {"dram_bytes": _doubt_of_bytes(ranges, known), "total_flops": _doubt_of_flops(ranges, known)}
    return [_figures(one, doubts) for name, one in ranges.items() if name not in (READ, PRODUCT)]


def document(one: Figures, predicted: Demand | None = None, capture: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """As it is written: the names of the original's files, what it left out, the closed forms and their ratio."""
    counts = one.counts
    made: dict[str, Any] = {
        "name": one.name,
        "dram_bytes": one.dram_bytes,
        "fadd": counts.get("smsp__sass_thread_inst_executed_op_fadd_pred_on.sum"),
        "fmul": counts.get("smsp__sass_thread_inst_executed_op_fmul_pred_on.sum"),
        "ffma": counts.get("smsp__sass_thread_inst_executed_op_ffma_pred_on.sum"),
        "core_flops": one.core_flops,
        "tensor_instructions": one.tensor_instructions,
        "tensor_flops": one.tensor_flops,
        "total_flops": one.total_flops,
        "time_ns": 1e9 * one.seconds,
        "kernels": one.kernels,
        "arithmetic_intensity": one.arithmetic_intensity,
        "achieved_flops": one.achieved_flops,
    }
    made = {name: value for name, value in made.items() if value is not None}
    if predicted is not None:
        made["predicted"] = {"dram_bytes": predicted.bytes, "total_flops": predicted.flops}
        made["counted_over_predicted"] = {
            name: made[name] / value for name, value in made["predicted"].items() if name in made
        }
    return {**made, "withheld": dict(one.withheld), "counters": dict(counts), "capture": dict(capture or {})}


def _figures(one: Range, doubts: Mapping[str, str | None]) -> Figures:
    counts, withheld = one.counts, {name: why for name, why in doubts.items() if why}
    cores, tensors = counters.core_operations(counts), counters.tensor_operations(counts, one.capability)
    total = None if tensors is None else cores + tensors
    if counters.BYTES not in counts:
        withheld["dram_bytes"] = f"{counters.BYTES} was not counted"
    if total is None:
        withheld["total_flops"] = _untold(counters.tensor_instructions(counts))
    return Figures(
        name=one.name,
        kernels=one.kernels,
        seconds=counts.get(counters.TIME, 0.0),
        dram_bytes=None if "dram_bytes" in withheld else counts[counters.BYTES],
        total_flops=None if "total_flops" in withheld else total,
        core_flops=cores,
        tensor_flops=tensors,
        tensor_instructions=counters.tensor_instructions(counts),
        withheld=withheld,
        counts=counts,
    )


def _untold(instructions: float | None) -> str:
    if instructions is None:
        return "no counter of the tensor cores was captured: their operations, most of all, are missing"
    return f"the tensor cores executed {instructions:,.0f} instructions, and no counter says how many operations"


def _doubt_of_bytes(ranges: Mapping[str, Range], known: Known | None) -> str | None:
    counted = ranges[READ].counts.get(counters.BYTES) if READ in ranges else None
    return _doubt("bytes", counted, known.bytes if known else None)


def _doubt_of_flops(ranges: Mapping[str, Range], known: Known | None) -> str | None:
    if PRODUCT not in ranges:
        return _doubt("operations", None, known.flops if known else None)
    one = ranges[PRODUCT]
    tensors = counters.tensor_operations(one.counts, one.capability)
    counted = None if tensors is None else tensors + counters.core_operations(one.counts)
    return _doubt("operations", counted, known.flops if known else None)


def _doubt(what: str, counted: float | None, known: float | None) -> str | None:
    """Why what was counted is not to be believed, or None."""
    if counted is None or known is None:
        return f"nothing of known {what} is in this capture to hold its counters to: capture with kvgpt roofline --ncu"
    off = counted / known - 1
    if abs(off) <= TOLERANCE:
        return None
    return f"the calibration's {known:,.0f} {what} were counted as {counted:,.0f}, {100 * off:+.1f}%: above 5%"
