"""The state of a device around a case: read before and after it, and judged by what went on in between."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvgpt.measure import device as devices
from kvgpt.measure.host import TICK, Host
from kvgpt.measure.host import Reading as HostReading
from kvgpt.measure.nvml import Gpu
from kvgpt.measure.nvml import Reading as GpuReading

SHORTEST = 0.05  # s between two readings: the kernel counts time in 10 ms, so less says nothing of shares
LIMITS = {  # share -> the largest under which a case counts, and what to say of a larger one
    "others_share": (0.10, "other processes had {share:.0%} of the cores' time, above {limit:.0%}"),
    "stolen_share": (0.05, "other guests of this machine had {share:.0%} of the cores' time, above {limit:.0%}"),
    "throttled_share": (
        0.05,
        "a cgroup's quota held this process back for {share:.0%} of the time, above {limit:.0%}",
    ),
}
LEAST_CLOCK = 0.75  # of the clock that is asked of a GPU under load
THROTTLES = (  # reasons for a slower clock that make a figure one of the room or the power supply
    "power_cap",
    "hardware_slowdown",
    "software_thermal_slowdown",
    "hardware_thermal_slowdown",
    "power_brake",
)
SAID = ("sm_clock", "memory_clock", "power", "temperature", "performance_state", "utilisation", "memory_used")


@dataclass(frozen=True)
class State:
    """What the processors and the GPU said at one moment."""

    host: HostReading
    gpu: GpuReading


class Sampler:
    """Reads the state of ``device`` and judges a case by two readings.

    A case on a GPU is judged by the GPU, one on a CPU by the processors; the details tell of both. ``clock`` is the SM
    clock in Hz that a run locked; without it the application clock is what the GPU is held to, else its maximum.
    """

    def __init__(
        self, device: str, clock: float | None = None, host: Host | None = None, gpu: Gpu | None = None
    ) -> None:
        self.device = device
        self.host = host or Host()
        self.gpu = gpu or devices.gpu(device)
        facts = self.gpu.facts()
        self.clock = clock or facts.application_sm_clock or facts.max_sm_clock

    def read(self) -> State:
        """The state now. A GPU that rests lowers its clocks: read at once after a case."""
        return State(self.host.read(), self.gpu.read())

    def notes(self, before: State, after: State) -> list[str]:
        """Why a case between the two is not valid, a sentence each; empty where nothing speaks against it."""
        if self.device == "cuda":
            return list(dict.fromkeys([*_gpu_notes(before.gpu, self.clock), *_gpu_notes(after.gpu, self.clock)]))
        return list(_host_notes(shares(before.host, after.host), after.host.at - before.host.at))

    def details(self, before: State, after: State) -> dict[str, float | str]:
        """Plain numbers in SI units and names for a record; what the system does not say is left out."""
        made: dict[str, float | str] = {**shares(before.host, after.host)}
        for end, state in (("before", before), ("after", after)):
            if state.host.frequencies:
                made[f"slowest_core_{end}"] = min(state.host.frequencies)
            if state.host.load is not None:
                made[f"load_{end}"] = state.host.load
            made |= {f"{name}_{end}": value for name in SAID if (value := getattr(state.gpu, name)) is not None}
        reasons = [state.gpu.throttle_reasons for state in (before, after)]
        if None not in reasons:
            made["throttle_reasons"] = ", ".join(sorted({name for some in reasons for name in some or ()})) or "none"
        others = [state.gpu.other_processes for state in (before, after) if state.gpu.other_processes is not None]
        if others:
            made["other_processes"] = max(others)
        return made


def shares(before: HostReading, after: HostReading) -> dict[str, float]:
    """What became of the time between two readings, by the names of ``LIMITS``; what is not known is left out."""
    elapsed = after.at - before.at
    made: dict[str, float] = {}
    if elapsed <= 0:
        return made
    busy, own = _more(before.busy, after.busy), _more(before.own, after.own)
    stolen, throttled = _more(before.stolen, after.stolen), _more(before.throttled, after.throttled)
    if throttled is not None:
        made["throttled_share"] = throttled / elapsed
    if elapsed < SHORTEST:
        return made
    if stolen is not None:
        made["stolen_share"] = stolen / (after.cores * elapsed)
    if busy is not None and own is not None and busy >= own / 2:  # some sandboxes' kernels count nothing
        made["others_share"] = max(busy - own, 0.0) / (after.cores * elapsed)
    return made


def _more(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _host_notes(found: Mapping[str, float], elapsed: float) -> Iterator[str]:
    for name, share in found.items():
        limit, sentence = LIMITS[name]
        rounding = 0.0 if name == "throttled_share" else TICK / elapsed  # each core's counters may be a tick off
        if share - rounding > limit:
            yield sentence.format(share=share, limit=limit)


def _gpu_notes(reading: GpuReading, clock: float | None) -> Iterator[str]:
    for reason in reading.throttle_reasons or ():
        if reason in THROTTLES:
            yield f"the GPU was throttled: {reason}"
    if reading.other_processes == 1:
        yield "another process computes on the GPU"
    elif reading.other_processes:
        yield f"{reading.other_processes} other processes compute on the GPU"
    if clock and reading.sm_clock is not None and _loaded(reading) and reading.sm_clock < LEAST_CLOCK * clock:
        yield (
            f"the SM clock was {reading.sm_clock / 1e6:.0f} MHz under load, below {LEAST_CLOCK:.0%} of "
            f"{clock / 1e6:.0f} MHz"
        )


def _loaded(reading: GpuReading) -> bool:
    """A GPU that rests has slow clocks by right."""
    return "gpu_idle" not in (reading.throttle_reasons or ()) and bool(reading.utilisation)
