"""The state around a case: what makes it invalid, what goes into its record, and what is absent."""

import os
from dataclasses import replace

import pytest
from fake_nvml import UUID, FakeNvml, process
from hypothesis import given
from hypothesis import strategies as st

from kvgpt import record
from kvgpt.measure import host, nvml, state

START = host.Reading(
    at=100.0, cores=4, busy=50.0, stolen=2.0, own=10.0, throttled=1.0, frequencies=(2e9, 3e9), load=1.5
)


class Processors:
    """Says one reading after the other."""

    def __init__(self, *readings):
        self.readings = list(readings)

    def read(self):
        return self.readings.pop(0)


def later(elapsed, others=0.0, own=0.0, stolen=0.0, throttled=0.0):
    """A reading ``elapsed`` s after the first, with these s of CPU time more on each counter."""
    grown = {"busy": others + own, "own": own, "stolen": stolen, "throttled": throttled}
    values = {name: getattr(START, name) + more for name, more in grown.items()}
    return replace(START, at=START.at + elapsed, **values)


def on_cpu(after, before=START):
    sampler = state.Sampler("cpu", host=Processors(before, after), gpu=nvml.Gpu(absent="a CPU is no GPU"))
    ends = sampler.read(), sampler.read()
    return sampler.notes(*ends), sampler.details(*ends)


def on_gpu(before, after, clock=None):
    """Notes and details of a case between two sets of the fake GPU's answers."""
    library = FakeNvml()
    sampler = state.Sampler("cuda", clock, host=Processors(START, later(1.0)), gpu=nvml.find(UUID, library))
    ends = []
    for answers in (before, after):
        vars(library).update(vars(FakeNvml(**answers)))
        ends.append(sampler.read())
    return sampler.notes(*ends), sampler.details(*ends)


def test_a_quiet_cpu_is_valid_and_says_so():
    notes, details = on_cpu(later(1.0, own=3.5))
    assert notes == []
    assert details == {
        "throttled_share": 0.0,
        "stolen_share": 0.0,
        "others_share": 0.0,
        "slowest_core_before": 2e9,
        "slowest_core_after": 2e9,
        "load_before": 1.5,
        "load_after": 1.5,
    }


@pytest.mark.parametrize(
    ("went_on", "note"),
    [
        ({"others": 0.6, "own": 3.0}, "other processes had 15% of the cores' time, above 10%"),
        ({"stolen": 0.4}, "other guests of this machine had 10% of the cores' time, above 5%"),
        ({"throttled": 0.06}, "a cgroup's quota held this process back for 6% of the time, above 5%"),
    ],
)
def test_a_cpu_that_others_held_makes_a_case_invalid(went_on, note):
    assert on_cpu(later(1.0, **went_on))[0] == [note]
    half = {name: value / 2 if name != "own" else value for name, value in went_on.items()}
    assert on_cpu(later(1.0, **half))[0] == []


def test_own_work_on_every_core_is_nobody_elses():
    assert on_cpu(later(10.0, own=40.0))[0] == []


def test_short_cases_are_judged_by_throttling_alone():
    notes, details = on_cpu(later(0.04, others=0.16, stolen=0.16))
    assert notes == [] and "others_share" not in details and "stolen_share" not in details
    assert on_cpu(later(0.04, others=0.16, throttled=0.01))[0] == [
        "a cgroup's quota held this process back for 25% of the time, above 5%"
    ]


def test_a_tick_on_every_core_is_rounding():
    assert on_cpu(later(0.06, others=4 * host.TICK))[0] == []
    assert on_cpu(later(0.06, others=8 * host.TICK))[0] != []


def test_counters_that_stand_still_while_we_work_count_nothing():
    after = replace(later(1.0, own=2.0), busy=START.busy)
    notes, details = on_cpu(after)
    assert notes == [] and "others_share" not in details


def test_what_the_system_does_not_say_is_absent_from_the_details():
    assert on_cpu(host.Reading(at=2.0, cores=1), host.Reading(at=1.0, cores=1)) == ([], {})
    notes, details = on_cpu(START)
    assert notes == [] and not set(details) & set(state.LIMITS), "two readings at one moment have no shares"


counters = st.none() | st.floats(0, 1e6)
readings = st.builds(
    host.Reading,
    at=st.floats(0, 1e6),
    cores=st.just(4),
    busy=counters,
    stolen=counters,
    own=counters,
    throttled=counters,
    frequencies=st.lists(st.floats(1, 1e10), max_size=4).map(tuple),
    load=counters,
)


@given(readings, readings)
def test_details_of_any_readings_fit_a_record(before, after):
    before, after = sorted((before, after), key=lambda reading: reading.at)
    notes, details = on_cpu(after, before)
    made = record.record("latency", "v1", "dense", {}, {}, notes, details)
    assert made["validity"]["ok"] == (notes == []) and all(map(record._is_number, details.values()))


def test_a_gpu_at_work_is_valid_and_says_how_it_ran():
    notes, details = on_gpu({}, {"temperature": 70, "processes": [process(os.getpid())]})
    assert notes == []
    assert details["sm_clock_before"] == details["sm_clock_after"] == 1.4e9
    assert (details["temperature_before"], details["temperature_after"]) == (61, 70)
    assert details["throttle_reasons"] == "none" and details["other_processes"] == 0 and details["power_after"] == 250
    record.record("latency", "v1", "dense", {}, {}, notes, details)


@pytest.mark.parametrize("end", ["before", "after"])
@pytest.mark.parametrize(
    ("bit", "reason"),
    [
        (0x04, "power_cap"),
        (0x08, "hardware_slowdown"),
        (0x20, "software_thermal_slowdown"),
        (0x40, "hardware_thermal_slowdown"),
        (0x80, "power_brake"),
    ],
)
def test_a_throttled_gpu_makes_a_case_invalid(bit, reason, end):
    ends = {"before": {}, "after": {}, end: {"reasons": bit}}
    notes, details = on_gpu(ends["before"], ends["after"])
    assert notes == [f"the GPU was throttled: {reason}"] and details["throttle_reasons"] == reason


def test_one_reason_at_both_ends_is_said_once():
    assert len(on_gpu({"reasons": 4}, {"reasons": 4})[0]) == 1


@pytest.mark.parametrize("harmless", [0x1, 0x2, 0x10, 0x100])
def test_other_reasons_for_slower_clocks_are_no_throttling(harmless):
    assert on_gpu({"reasons": harmless}, {"reasons": harmless})[0] == []


def test_a_slow_clock_counts_under_load_only():
    slow = {"sm_clock": 1000}  # of an application clock of 1400
    assert on_gpu({}, slow)[0] == ["the SM clock was 1000 MHz under load, below 75% of 1400 MHz"]
    assert on_gpu({}, {"sm_clock": 1060})[0] == []
    assert on_gpu({**slow, "reasons": 0x1}, {})[0] == [], "it rested"
    assert on_gpu({**slow, "utilisation": 0}, {})[0] == [], "nothing ran"
    assert on_gpu(slow, {}, clock=0.9e9)[0] == [], "the run locked it there"


def test_without_an_application_clock_the_maximum_counts():
    library = FakeNvml(sm_clock=1100, missing={"nvmlDeviceGetApplicationsClock"})
    sampler = state.Sampler("cuda", host=Processors(START, later(1.0)), gpu=nvml.find(UUID, library))
    assert sampler.notes(sampler.read(), sampler.read()) == [
        "the SM clock was 1100 MHz under load, below 75% of 1500 MHz"
    ]


def test_a_gpu_that_others_compute_on_makes_a_case_invalid():
    notes, details = on_gpu({}, {"processes": [process(os.getpid()), process(7)]})
    assert notes == ["another process computes on the GPU"] and details["other_processes"] == 1
    assert on_gpu({"processes": [process(os.getpid()), process(7), process(8)]}, {})[0] == [
        "2 other processes compute on the GPU"
    ]


def test_busy_cores_say_nothing_of_a_case_on_a_gpu_but_are_in_its_details():
    sampler = state.Sampler("cuda", host=Processors(START, later(1.0, others=4.0)), gpu=nvml.find(UUID, FakeNvml()))
    ends = sampler.read(), sampler.read()
    assert sampler.notes(*ends) == [] and sampler.details(*ends)["others_share"] == 1.0


def test_a_gpu_without_a_driver_leaves_its_state_absent():
    gpu = nvml.find(UUID, FakeNvml(installed=False))
    sampler = state.Sampler("cuda", host=Processors(START, later(1.0)), gpu=gpu)
    ends = sampler.read(), sampler.read()
    assert sampler.notes(*ends) == [] and not [name for name in sampler.details(*ends) if "clock" in name]


def test_a_sampler_of_this_machine_reads_it():
    sampler = state.Sampler("cpu")
    ends = sampler.read(), sampler.read()
    record.record("latency", "v1", "dense", {}, {}, sampler.notes(*ends), sampler.details(*ends))
    assert ends[1].host.at >= ends[0].host.at


@pytest.mark.gpu
def test_a_sampler_of_a_gpu_reads_its_clock():
    sampler = state.Sampler("cuda")
    ends = sampler.read(), sampler.read()
    assert sampler.details(*ends)["sm_clock_after"] > 0
