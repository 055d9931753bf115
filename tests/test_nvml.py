"""NVML's answers in SI units, and None for what a driver does not offer, does not permit, or does not have."""

import dataclasses
import os

import pytest
import torch
from fake_nvml import UUID, FakeNvml, process

from kvgpt.measure import device, nvml


def gpu(**settings):
    return nvml.find(UUID, FakeNvml(**settings))


def test_a_gpu_is_read_in_si_units():
    facts = gpu(max_sm_clock=1980, power_limit=700_000).facts()
    assert (facts.name, facts.uuid, facts.driver) == ("Fake GPU", f"GPU-{UUID}", "999.1")
    assert facts.max_sm_clock == 1.98e9 and facts.power_limit == 700 and facts.memory_bus_width == 5120
    reading = gpu(sm_clock=1755, memory_clock=1593, power=512_500, temperature=71, utilisation=40, state=2).read()
    assert (reading.sm_clock, reading.memory_clock, reading.power) == (1.755e9, 1.593e9, 512.5)
    assert (reading.temperature, reading.utilisation, reading.performance_state) == (71, 0.4, 2)
    assert reading.memory_used == 10 * 2**30 and reading.memory_free == 30 * 2**30


def test_everything_is_read_where_everything_is_offered():
    found = gpu()
    answers = dataclasses.asdict(found.facts()) | dataclasses.asdict(found.read())
    assert None not in answers.values() and found.refused == {} and found.absent is None


@pytest.mark.parametrize("kind", ["denied", "missing"])
def test_what_a_driver_keeps_to_itself_is_none_and_the_rest_is_read(kind):
    library = FakeNvml()
    functions = [name for name in dir(library) if name.startswith("nvmlDeviceGet") and "Handle" not in name]
    for function in functions:
        setattr(library, kind, {function})
        found = nvml.find(UUID, library)
        answers = dataclasses.asdict(found.facts()) | dataclasses.asdict(found.read())
        unknown = {name for name, value in answers.items() if value is None}
        assert set(found.refused) <= unknown and len(unknown) <= 3, function
    setattr(library, kind, set(functions) | {"nvmlSystemGetDriverVersion"})
    found = nvml.find(UUID, library)
    assert found.facts() == nvml.Facts() and found.read() == nvml.Reading()
    assert found.default_sm_clock() is None and found.supported_sm_clocks() == ()
    why = {"denied": "Insufficient Permissions", "missing": "Not Supported"}[kind]
    assert set(found.refused.values()) == {why}


def test_a_driver_that_is_older_than_the_binding_leaves_a_reading_none():
    class Older(FakeNvml):
        def nvmlDeviceGetComputeRunningProcesses(self, handle):
            raise self.NVMLLibraryMismatchError("unversioned function")

    found = nvml.find(UUID, Older())
    assert found.read().other_processes is None and found.refused == {"other_processes": "unversioned function"}


def test_a_reading_that_comes_back_is_no_longer_refused():
    library = FakeNvml(missing={"nvmlDeviceGetPowerUsage"})
    found = nvml.find(UUID, library)
    found.read()
    assert "power" in found.refused
    library.missing.clear()
    assert found.read().power == 250 and found.refused == {}


def test_without_a_driver_the_gpu_says_why_and_all_is_none():
    found = gpu(installed=False)
    assert found.absent == "no NVIDIA driver answers here (NVML: NVML Shared Library Not Found)"
    assert found.facts() == nvml.Facts() and found.read() == nvml.Reading()
    assert found.lock_sm_clock(1e9) == found.unlock_sm_clock() == found.absent


def test_another_gpus_uuid_finds_none_and_a_slices_finds_it():
    assert gpu(uuid="GPU-another").absent == f"NVML has no GPU {UUID} (Not Found)"
    assert gpu(uuid=f"MIG-{UUID}", mig=1).facts().mig is True


def test_throttle_reasons_are_names():
    assert gpu(reasons=0).read().throttle_reasons == ()
    assert gpu(reasons=0x1 | 0x4 | 0x80).read().throttle_reasons == ("gpu_idle", "power_cap", "power_brake")
    assert gpu(reasons=0x40 | 0x4000).read().throttle_reasons == ("hardware_thermal_slowdown", "reason_0x4000")


def test_older_drivers_name_throttle_reasons_otherwise():
    older = gpu(reasons=0x8, missing={"nvmlDeviceGetCurrentClocksEventReasons"})
    assert older.read().throttle_reasons == ("hardware_slowdown",) and older.refused == {}


@pytest.mark.parametrize(
    ("processes", "others", "held"),
    [
        ([], 0, 0),
        ([process(os.getpid())], 0, 0),
        ([process(os.getpid()), process(7, 300), process(8, 200)], 2, 500),
        ([process(os.getpid()), process(7, None)], 1, None),
        ([process(123_456_789)], 0, 0),  # this one, as a container's host numbers it
        ([process(123_456_789), process(7)], 1, None),  # which of them is this one is not known
    ],
)
def test_other_processes_are_counted_without_this_one(processes, others, held):
    reading = gpu(processes=processes).read()
    assert (reading.other_processes, reading.other_memory) == (others, held)


def test_an_unknown_performance_state_is_none():
    assert gpu(state=32).read().performance_state is None


def test_a_cpu_has_no_gpu():
    assert device.gpu("cpu").absent and device.gpu("cpu").read() == nvml.Reading()


def test_cuda_without_cuda_says_what_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.gpu("cuda").absent == "torch sees no CUDA device"


@pytest.mark.gpu
def test_the_gpu_that_torch_computes_on_is_found():
    found = device.gpu("cuda")
    torch.zeros(1, device="cuda")
    assert found.absent is None and found.facts().name == torch.cuda.get_device_properties(0).name
    assert device.describe("cuda")["driver"] == found.facts().driver
