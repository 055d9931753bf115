"""The clocks at rest, under load and after it: sampled by a clock of the test's own, and what they show."""

import threading

import pytest
import torch
from fake_nvml import UUID, FakeNvml

from kvgpt.measure import host, nvml, pstates


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def sampled(read, load=lambda: None, seconds=0.5):
    passing = Time()
    return pstates.watch(read, load, seconds, passing.clock, passing.sleep)


def samples(rest, load, after, **under_load):
    """One sample for each clock in Hz."""
    phases = [("rest", rest, {}), ("load", load, under_load), ("after", after, {})]
    return [pstates.Sample(0.0, phase, {"clock": clock, **said}) for phase, clocks, said in phases for clock in clocks]


def test_the_three_phases_are_sampled_every_tenth_of_a_second():
    found = sampled(lambda: {"clock": 1e9})
    assert [sample.phase for sample in found] == ["rest"] * 5 + ["load"] * 5 + ["after"] * 5
    assert [sample.at for sample in found] == pytest.approx([0.1 * number for number in range(15)])


def test_the_load_runs_in_its_phase_alone_and_again_and_again():
    passing, called, seen = Time(), [], []
    twice = threading.Event()

    def load():
        called.append(threading.get_ident())
        if len(called) >= 2:
            twice.set()

    def read():
        seen.append(len(called))
        if len(seen) == 4:  # the second sample under load
            assert twice.wait(10), "the load stopped after one call"
        return {}

    pstates.watch(read, load, 0.2, passing.clock, passing.sleep)
    assert seen[:2] == [0, 0] and seen[4] == seen[5] == len(called) >= 2
    assert threading.get_ident() not in called, "sampling goes on meanwhile"


def test_what_the_load_raises_is_raised():
    def load():
        raise MemoryError("no room for the matrices")

    with pytest.raises(MemoryError, match="no room"):
        sampled(dict, load)


def test_an_interrupt_ends_the_load():
    before = threading.active_count()

    def read():
        if threading.active_count() > before:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        sampled(read)
    assert threading.active_count() == before


@pytest.mark.parametrize("seconds", [0, -1, 601, float("nan"), float("inf")])
def test_phases_of_no_length_or_without_end_are_refused(seconds):
    with pytest.raises(ValueError, match=r"a phase: expected 0\.1 to 600"):
        sampled(dict, seconds=seconds)


def test_a_gpu_is_shown_with_what_explains_its_clock():
    gpu = nvml.find(UUID, FakeNvml(sm_clock=1980, state=2, reasons=0x4 | 0x20))
    assert pstates.of_gpu(gpu) == {
        "clock": 1.98e9,
        "memory clock": 1.2e9,
        "P-state": "P2",
        "power": 250.0,
        "temperature": 61.0,
        "reasons": "power_cap, software_thermal_slowdown",
    }
    lines = pstates.table(sampled(lambda: pstates.of_gpu(gpu), seconds=0.1))
    assert lines[0].split("  ")[0] == "time" and "P-state" in lines[0]
    assert "1.98 GHz" in lines[1] and "P2" in lines[1] and "61 °C" in lines[1] and len(lines) == 4


def test_what_a_driver_does_not_say_has_no_column():
    gpu = nvml.find(UUID, FakeNvml(missing={"nvmlDeviceGetPowerUsage", "nvmlDeviceGetPerformanceState"}))
    assert not {"power", "P-state"} & set(pstates.of_gpu(gpu))
    assert pstates.of_gpu(nvml.Gpu(absent="none")) == {}


def test_a_reading_that_is_missing_once_is_a_dash():
    found = [pstates.Sample(0.0, "rest", {"clock": 1e9}), pstates.Sample(0.1, "rest", {"power": 20.0})]
    assert [line.split()[-1] for line in pstates.table(found)] == ["power", "-", "W"]


def test_a_clock_that_ramps_is_said_to_with_its_state_and_no_throttling():
    found = samples([3e8, 3e8], [3e8, 1.9e9, 1.9e9], [1e9], **{"P-state": "P0", "reasons": "none"})
    assert pstates.conclusion(found) == (
        "The clock rises: 300 MHz at rest, 1.9 GHz under load. P-state under load: P0. Not throttled under load."
    )


def test_throttling_under_load_is_named_and_idling_is_none():
    found = samples([1.5e9], [1.2e9], [1.5e9], reasons="gpu_idle, power_cap, power_brake")
    assert pstates.conclusion(found) == (
        "The clock falls: 1.5 GHz at rest, 1.2 GHz under load. Throttled under load: power_brake, power_cap."
    )


def test_clocks_that_do_not_move_are_no_ramp():
    assert pstates.conclusion(samples([2e9], [2e9], [2e9])).startswith("The clock stands at 2 GHz")
    assert pstates.conclusion(samples([2e9], [2.05e9], [2e9])).startswith("The clock does not ramp: 2 GHz at rest")


def test_without_clocks_nothing_is_concluded():
    assert pstates.conclusion([pstates.Sample(0.0, "load", {})]).startswith("No clock was read")


def test_cores_are_shown_by_the_slowest_and_the_fastest(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor: 0\ncpu MHz: 2000\nprocessor: 1\ncpu MHz: 3000\n")
    cores = host.Host(proc=tmp_path, sys=tmp_path, cores=(0, 1))
    assert pstates.of_cores(cores) == {"clock": 2e9, "fastest core": 3e9}
    lines = pstates.report("cpu", 0.1, host=cores)
    assert "fastest core" in lines[0] and lines[-1].startswith("The clock stands at 2 GHz")


def test_where_no_clock_is_read_the_report_says_why(tmp_path, monkeypatch):
    silent = host.Host(proc=tmp_path, sys=tmp_path, cores=(0,))
    assert pstates.report("cpu", 0.1, host=silent) == [
        "no clocks to show: the system does not say how fast its cores run"
    ]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pstates.report("cuda", 0.1) == ["no clocks to show: torch sees no CUDA device"]
    mute = nvml.find(UUID, FakeNvml(missing={"nvmlDeviceGetClockInfo"}))
    assert pstates.report("cuda", 0.1, mute) == ["no clocks to show: the driver does not say how fast the GPU runs"]


@pytest.mark.gpu
def test_a_gpus_clocks_are_shown():
    lines = pstates.report("cuda", 0.2)
    assert any(" load " in line for line in lines) and "under load" in lines[-1]
