"""A stand-in for pynvml: one GPU whose every answer a test sets, and which notes what was asked to be changed.

Answers are attributes, and two sets hold the names of functions that fail:

nvml = FakeNvml(sm_clock=1410)
nvml.denied.add("nvmlDeviceSetGpuLockedClocks")  # that the driver does not permit
nvml.missing.add("nvmlDeviceGetPowerUsage")      # that the card does not offer

An instance goes wherever the module would.
"""

from types import SimpleNamespace

UUID = "5f2c8a54-0000-1111-2222-333344445555"  # as torch states it
HANDLE = "handle"


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):  # noqa: N801 - pynvml's name
    def __str__(self):
        return "Not Supported"


class NVMLError_NoPermission(NVMLError):  # noqa: N801 - pynvml's name
    def __str__(self):
        return "Insufficient Permissions"


class NVMLError_NotFound(NVMLError):  # noqa: N801 - pynvml's name
    def __str__(self):
        return "Not Found"


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801 - pynvml's name
    def __str__(self):
        return "NVML Shared Library Not Found"


class NVMLLibraryMismatchError(Exception):
    pass


def process(pid, memory=2**30):
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)


class FakeNvml:
    """Clocks in MHz, power in mW, as NVML has them."""

    NVMLError, NVMLLibraryMismatchError = NVMLError, NVMLLibraryMismatchError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    NVML_CLOCK_LIMIT_ID_TDP = 0xFFFFFF01

    def __init__(self, **settings):
        self.installed = True
        self.name, self.uuid = "Fake GPU", f"GPU-{UUID}"
        self.sm_clock, self.max_sm_clock, self.application_sm_clock = 1400, 1500, 1400
        self.memory_clock, self.max_memory_clock, self.application_memory_clock = 1200, 1250, 1200
        self.supported = [900, 1400, 1500, 210]
        self.power, self.power_limit, self.temperature, self.state, self.utilisation = 250_000, 300_000, 61, 0, 100
        self.reasons, self.processes, self.memory, self.mig = 0, [], (40 * 2**30, 10 * 2**30), 0
        self.denied, self.missing = set(), set()  # names of functions
        self.locked = None  # MHz, while the clock is held
        self.orders = []  # what was asked to be changed, in order
        vars(self).update(settings)

    def __getattribute__(self, name):
        if name.startswith("nvml"):
            if name in self.denied:
                return _raising(NVMLError_NoPermission())
            if name in self.missing:
                return _raising(NVMLError_NotSupported())
        return super().__getattribute__(name)

    def nvmlInit(self):
        if not self.installed:
            raise NVMLError_LibraryNotFound

    def nvmlSystemGetDriverVersion(self):
        return "999.1"

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != self.uuid:
            raise NVMLError_NotFound
        return HANDLE

    def nvmlDeviceGetName(self, handle):
        return self.name

    def nvmlDeviceGetUUID(self, handle):
        return self.uuid

    def nvmlDeviceGetClockInfo(self, handle, kind):
        return {self.NVML_CLOCK_SM: self.sm_clock, self.NVML_CLOCK_MEM: self.memory_clock}[kind]

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):
        return {self.NVML_CLOCK_SM: self.max_sm_clock, self.NVML_CLOCK_MEM: self.max_memory_clock}[kind]

    def nvmlDeviceGetApplicationsClock(self, handle, kind):
        return {self.NVML_CLOCK_SM: self.application_sm_clock, self.NVML_CLOCK_MEM: self.application_memory_clock}[kind]

    def nvmlDeviceGetDefaultApplicationsClock(self, handle, kind):
        return self.nvmlDeviceGetApplicationsClock(handle, kind)

    def nvmlDeviceGetSupportedMemoryClocks(self, handle):
        return [self.max_memory_clock, 405]

    def nvmlDeviceGetSupportedGraphicsClocks(self, handle, memory_clock):
        return self.supported if memory_clock == self.max_memory_clock else [405]

    def nvmlDeviceGetPowerUsage(self, handle):
        return self.power

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        return self.power_limit

    def nvmlDeviceGetTemperature(self, handle, sensor):
        return self.temperature

    def nvmlDeviceGetPerformanceState(self, handle):
        return self.state

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):
        return self.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):
        return self.reasons

    def nvmlDeviceGetUtilizationRates(self, handle):
        return SimpleNamespace(gpu=self.utilisation, memory=0)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return self.processes

    def nvmlDeviceGetMemoryInfo(self, handle):
        total, used = self.memory
        return SimpleNamespace(total=total, used=used, free=total - used)

    def nvmlDeviceGetMemoryBusWidth(self, handle):
        return 5120

    def nvmlDeviceGetMigMode(self, handle):
        return [self.mig, self.mig]

    def nvmlDeviceSetGpuLockedClocks(self, handle, least, most):
        assert least == most
        self.orders.append(("lock", most))
        self.locked = most

    def nvmlDeviceResetGpuLockedClocks(self, handle):
        self.orders.append(("unlock", self.locked))
        self.locked = None


def _raising(error):
    def function(*arguments):
        raise error

    return function
