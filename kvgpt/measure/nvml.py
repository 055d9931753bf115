"""One GPU as NVIDIA's driver sees it, through NVML: the only importer of pynvml, distributed as nvidia-ml-py.

What a driver does not offer or permit is None, never an exception. NVML stays open until the process ends, as in torch.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pynvml

T = TypeVar("T")
REASONS = {  # bits of the driver's answer -> why the clocks are below their maximum
    0x001: "gpu_idle",
    0x002: "application_clocks",
    0x004: "power_cap",
    0x008: "hardware_slowdown",
    0x010: "sync_boost",
    0x020: "software_thermal_slowdown",
    0x040: "hardware_thermal_slowdown",
    0x080: "power_brake",
    0x100: "display_clocks",
}
UNITS = {  # of the numbers below; what is not here is a name or a count
    "max_sm_clock": "Hz",
    "max_memory_clock": "Hz",
    "application_sm_clock": "Hz",
    "application_memory_clock": "Hz",
    "power_limit": "W",
    "memory_total": "B",
    "memory_bus_width": "bit",
    "sm_clock": "Hz",
    "memory_clock": "Hz",
    "power": "W",
    "temperature": "°C",
    "memory_used": "B",
    "memory_free": "B",
    "other_memory": "B",
}


@dataclass(frozen=True)
class Facts:
    """What a GPU is and what it is set to: nothing that moves from one case to the next."""

    name: str | None = None
    uuid: str | None = None
    driver: str | None = None
    max_sm_clock: float | None = None
    max_memory_clock: float | None = None
    application_sm_clock: float | None = None
    application_memory_clock: float | None = None
    power_limit: float | None = None
    memory_total: int | None = None
    memory_bus_width: int | None = None
    mig: bool | None = None


@dataclass(frozen=True)
class Reading:
    """What a GPU does at one moment."""

    sm_clock: float | None = None
    memory_clock: float | None = None
    power: float | None = None
    temperature: float | None = None
    performance_state: int | None = None  # 0 is the fastest, 15 the slowest
    throttle_reasons: tuple[str, ...] | None = None
    utilisation: float | None = None  # the share of the driver's last sample in which a kernel ran
    other_processes: int | None = None  # that compute here, besides this one
    other_memory: int | None = None  # that they hold
    memory_used: int | None = None  # by everybody, the driver included
    memory_free: int | None = None


@dataclass
class Gpu:
    """A GPU to ask: ``refused`` says why a reading is None; ``absent``, why all are, in one sentence."""

    handle: Any = None
    absent: str | None = None
    library: Any = pynvml
    refused: dict[str, str] = field(default_factory=dict)

    def facts(self) -> Facts:
        nvml, gpu, ask = self.library, self.handle, self._ask
        return Facts(
            name=ask("name", lambda: str(nvml.nvmlDeviceGetName(gpu))),
            uuid=ask("uuid", lambda: str(nvml.nvmlDeviceGetUUID(gpu))),
            driver=ask("driver", lambda: str(nvml.nvmlSystemGetDriverVersion())),
            max_sm_clock=ask("max_sm_clock", lambda: _hertz(nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM))),
            max_memory_clock=ask(
                "max_memory_clock", lambda: _hertz(nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_MEM))
            ),
            application_sm_clock=ask(
                "application_sm_clock", lambda: _hertz(nvml.nvmlDeviceGetApplicationsClock(gpu, nvml.NVML_CLOCK_SM))
            ),
            application_memory_clock=ask(
                "application_memory_clock",
                lambda: _hertz(nvml.nvmlDeviceGetApplicationsClock(gpu, nvml.NVML_CLOCK_MEM)),
            ),
            power_limit=ask("power_limit", lambda: _watts(nvml.nvmlDeviceGetEnforcedPowerLimit(gpu))),
            memory_total=ask("memory_total", lambda: int(nvml.nvmlDeviceGetMemoryInfo(gpu).total)),
            memory_bus_width=ask("memory_bus_width", lambda: int(nvml.nvmlDeviceGetMemoryBusWidth(gpu))),
            mig=ask("mig", lambda: bool(nvml.nvmlDeviceGetMigMode(gpu)[0])),
        )

    def read(self) -> Reading:
        """The state now; ``other_processes`` on the premise that this process computes here too."""
        nvml, gpu, ask = self.library, self.handle, self._ask
        others = ask("other_processes", lambda: _others(nvml.nvmlDeviceGetComputeRunningProcesses(gpu)))
        memory = ask("memory_used", lambda: nvml.nvmlDeviceGetMemoryInfo(gpu))
        return Reading(
            sm_clock=ask("sm_clock", lambda: _hertz(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM))),
            memory_clock=ask("memory_clock", lambda: _hertz(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM))),
            power=ask("power", lambda: _watts(nvml.nvmlDeviceGetPowerUsage(gpu))),
            temperature=ask(
                "temperature", lambda: float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))
            ),
            performance_state=ask(
                "performance_state", lambda: _performance_state(nvml.nvmlDeviceGetPerformanceState(gpu))
            ),
            throttle_reasons=self._throttle_reasons(),
            utilisation=ask("utilisation", lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100),
            other_processes=others and others[0],
            other_memory=others and others[1],
            memory_used=memory and int(memory.used),
            memory_free=memory and int(memory.free),
        )

    def default_sm_clock(self) -> float | None:
        """Hz of the application clock that the card comes with."""
        nvml = self.library
        return self._ask(
            "default_sm_clock",
            lambda: _hertz(nvml.nvmlDeviceGetDefaultApplicationsClock(self.handle, nvml.NVML_CLOCK_SM)),
        )

    def supported_sm_clocks(self) -> tuple[float, ...]:
        """Hz, ascending, at the fastest memory clock; empty where the driver does not say."""
        nvml, gpu = self.library, self.handle

        def clocks() -> tuple[float, ...]:
            fastest = max(nvml.nvmlDeviceGetSupportedMemoryClocks(gpu))
            return tuple(map(_hertz, sorted(nvml.nvmlDeviceGetSupportedGraphicsClocks(gpu, fastest))))

        return self._ask("supported_sm_clocks", clocks) or ()

    def lock_sm_clock(self, clock: float | None) -> str | None:
        """Hold the SM clock at ``clock`` Hz, or at the base clock for None; why that was refused, or None."""
        nvml = self.library
        limit = nvml.NVML_CLOCK_LIMIT_ID_TDP if clock is None else round(clock / 1e6)
        return self._order(lambda: nvml.nvmlDeviceSetGpuLockedClocks(self.handle, limit, limit))

    def unlock_sm_clock(self) -> str | None:
        """Let the SM clock move again, whoever locked it; why that was refused, or None."""
        return self._order(lambda: self.library.nvmlDeviceResetGpuLockedClocks(self.handle))

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        """By their new name or, from older drivers, by the old one."""
        nvml, gpu, ask = self.library, self.handle, self._ask
        said = ask("throttle_reasons", lambda: _reasons(nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)))
        if said is None:
            said = ask("throttle_reasons", lambda: _reasons(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)))
        return said

    def _ask(self, reading: str, question: Callable[[], T]) -> T | None:
        if self.absent:
            return None
        try:
            said = question()
        except _errors(self.library) as error:
            self.refused[reading] = str(error)
            return None
        self.refused.pop(reading, None)
        return said

    def _order(self, order: Callable[[], object]) -> str | None:
        if self.absent:
            return self.absent
        try:
            order()
        except _errors(self.library) as error:
            return f"the driver refuses: {error}"
        return None


def find(uuid: str, library: Any = pynvml) -> Gpu:
    """The GPU, or the slice of one (MIG), with the UUID that torch states.

    Not by index: NVML counts all cards, torch those of CUDA_VISIBLE_DEVICES.
    """
    try:
        library.nvmlInit()
    except _errors(library) as error:
        return Gpu(absent=f"no NVIDIA driver answers here (NVML: {error})")
    for kind in ("GPU", "MIG"):
        try:
            return Gpu(library.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}"), library=library)
        except _errors(library) as error:
            why = str(error)
    return Gpu(absent=f"NVML has no GPU {uuid} ({why})")


def _errors(library: Any) -> tuple[type[Exception], ...]:
    return (library.NVMLError, library.NVMLLibraryMismatchError)


def _hertz(megahertz: int) -> float:
    return megahertz * 1e6


def _watts(milliwatts: int) -> float:
    return milliwatts / 1e3


def _performance_state(state: int) -> int | None:
    return state if 0 <= state <= 15 else None  # 32 is NVML's word for unknown


def _reasons(bits: int) -> tuple[str, ...]:
    each = [1 << place for place in range(bits.bit_length()) if bits >> place & 1]
    return tuple(REASONS.get(bit, f"reason_{bit:#x}") for bit in each)


def _others(processes: Sequence[Any]) -> tuple[int, int | None]:
    """How many others compute, and the bytes that they hold where those are known.

    In a container, pids may be of another namespace: one that is not ours by number is still this process.
    """
    others = [one.usedGpuMemory for one in processes if one.pid != os.getpid()]
    if len(others) < len(processes):
        return len(others), None if None in others else sum(others)
    count = max(len(others) - 1, 0)
    return count, None if count else 0
