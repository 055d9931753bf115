"""The roof and the floors: what a device does at best, and what no time can be under."""

import time

import pytest
import torch

from kvgpt import record
from kvgpt.costs import Demand
from kvgpt.measure import roof
from kvgpt.measure.floors import Claim, Floors, work
from kvgpt.native import rows


def sound():
    return roof.Roof(read={10: 100.0, 100: 50.0, 1000: 20.0}, copy=20.0, flops=1e3)


@pytest.mark.parametrize(("working_set", "rate"), [(1, 100.0), (10, 100.0), (99, 100.0), (100, 50.0), (1e9, 20.0)])
def test_a_working_set_is_held_to_the_largest_block_that_is_no_larger(working_set, rate):
    assert sound().bandwidth(working_set) == rate


def test_a_small_block_that_was_probed_badly_does_not_lower_the_roof():
    assert roof.Roof(read={10: 30.0, 100: 50.0}).bandwidth(10) == 50.0


def test_the_best_of_all_probes_counts():
    best = roof.Roof(read={10: 90.0, 100: 60.0}, copy=30.0, flops=1.0)
    best.raise_to(sound())
    assert best == roof.Roof(read={10: 100.0, 100: 60.0, 1000: 20.0}, copy=30.0, flops=1e3)


def test_steps_take_what_their_bytes_or_their_operations_take():
    steps = [Demand(flops=1e3, bytes=20.0), Demand(flops=1.0, bytes=40.0)]
    assert sound().seconds(steps, working_set=1e6) == pytest.approx(1.0 + 2.0)


def test_a_probe_does_the_amount_of_work_that_it_says():
    probe = roof.copying("cpu")
    target = probe.run()
    assert probe.amount == 2 * target.nbytes and bool((target == 1).all())
    assert roof.multiplying("cpu", "float32").run()[0, 0] == roof.MATMUL["cpu"]
    assert roof.reading("cpu", roof.MIB).amount % roof.MIB == 0


@pytest.mark.parametrize("compiles", [True, False])
def test_a_large_block_is_read_by_the_loop_that_decodes_where_there_is_one(compiles, monkeypatch):
    read = []
    monkeypatch.setattr(rows, "loop", lambda *dtypes: compiles or None)
    monkeypatch.setattr(rows, "few_rows", lambda x, block: read.append(block.nbytes))
    for size in (roof.MIB, roof.STREAMED):
        probe = roof.reading("cpu", size)
        probe.run()
        assert probe.amount % size == 0
    assert read == ([roof.STREAMED] if compiles else [])


def test_what_is_read_near_the_cores_is_not_read_slower_than_memory():
    found = roof.probe("cpu", "float32", time.perf_counter)
    assert found.bandwidth(roof.MIB) >= found.bandwidth(1e12) > 1e8 and found.flops > 1e8


def made(seconds):
    return record.record(
        "latency", "v1", "dense", {"model": "nano"}, {"per_token_latency": record.metric("per_token_latency", seconds)}
    )


def judged(seconds, *probes):
    probes, one = list(probes), made(seconds)
    floors = Floors(lambda: probes.pop(0))
    floors.judge(one, Claim("per_token_latency", [Demand(0.0, 40.0)], working_set=1e6, share=0.5))
    early = one["metrics"]["floor"]["value"]
    floors.finish()
    record.check(one)
    return one, early


def test_a_time_gets_its_floor_and_its_fraction():
    one, early = judged(4.0, sound(), sound())
    assert early == one["metrics"]["floor"]["value"] == pytest.approx(1.0)
    assert one["metrics"]["floor"]["kind"] == "modelled"
    assert one["metrics"]["fraction_of_floor"]["value"] == pytest.approx(0.25) and one["validity"]["ok"]


def test_the_last_probe_may_lower_a_floor():
    one, early = judged(4.0, sound(), roof.Roof(read={1000: 40.0}, copy=0.0, flops=0.0))
    assert early == pytest.approx(1.0) and one["metrics"]["floor"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize(("cache", "floor"), [(100, 2.0), (10**7, 1.0), (None, 1.0)])
def test_a_time_that_memory_bounds_is_held_to_how_fast_it_was_read_between_its_rounds(cache, floor):
    one = made(4.0)
    one["details"] = {"read_bandwidth": 10.0}
    floors = Floors(sound, cache)
    floors.judge(one, Claim("per_token_latency", [Demand(0.0, 40.0)], working_set=1e6, share=0.5))
    floors.finish()
    record.check(one)
    assert one["metrics"]["floor"]["value"] == pytest.approx(floor)


@pytest.mark.parametrize(("seconds", "ok"), [(0.98, True), (0.96, False)])
def test_a_time_under_its_floor_by_more_than_three_percent_is_not_valid(seconds, ok):
    one, _ = judged(seconds, sound(), sound())
    assert one["validity"]["ok"] is ok
    assert ok or "per_token_latency of 0.96 s is under its floor of 1 s" in one["validity"]["notes"]


@pytest.mark.parametrize(("cache", "marked"), [(2_000_000, True), (999_999, False), (None, None)])
def test_a_working_set_that_fits_the_last_level_cache_is_marked(cache, marked):
    one = made(4.0)
    Floors(sound, cache).judge(one, Claim("per_token_latency", [Demand(0.0, 40.0)], working_set=1_000_000))
    assert one["details"]["working_set"] == 1_000_000 and one["details"].get("in_cache") is marked


def test_the_roof_is_shown_as_the_best_of_all_probes_has_it():
    probes, one = [sound(), roof.Roof(read={100: 70.0, 1000: 30.0}, copy=90.0, flops=2e3)], made(4.0)
    floors = Floors(lambda: probes.pop(0))
    floors.show(one)
    assert one["metrics"]["read_bandwidth"]["value"] == 20.0 and one["metrics"]["copy_bandwidth"]["value"] == 20.0
    floors.finish()
    assert one["metrics"]["read_bandwidth"]["value"] == 30.0 and one["metrics"]["copy_bandwidth"]["value"] == 90.0
    assert one["details"]["read"] == {"10": 100.0, "100": 70.0, "1000": 30.0}
    record.check(one)


def test_a_point_above_its_roof_is_a_time_under_its_floor():
    """The rule for times holds points of a roofline to their roof: at 2 FLOP/B and 20 B/s, to 40 FLOP/s."""
    asked = Demand(flops=80.0, bytes=40.0)
    for seconds, ok in ((2.0, True), (1.95, True), (1.9, False)):
        one = made(seconds)
        floors = Floors(lambda: roof.Roof(read={1000: 20.0}, copy=1.0, flops=1e3))
        floors.judge(one, Claim("per_token_latency", [asked], working_set=1e6))
        floors.finish()
        achieved, above = work([asked], seconds)["achieved_flops"]["value"], 1.03 * 40.0
        assert one["validity"]["ok"] is ok is (achieved <= above)


def test_work_is_what_the_closed_forms_say():
    figures = work([Demand(30.0, 10.0), Demand(10.0, 10.0)], seconds=4.0)
    assert {name: figure["value"] for name, figure in figures.items()} == {
        "flops": 40.0,
        "dram_bytes": 20.0,
        "arithmetic_intensity": 2.0,
        "achieved_flops": 10.0,
    }
    assert [figure["kind"] for figure in figures.values()] == ["modelled"] * 3 + ["measured"]


@pytest.mark.gpu
def test_a_gpu_reads_its_largest_block_from_memory():
    properties = torch.cuda.get_device_properties(0)
    assert roof.SIZES["cuda"][-1] > 4 * properties.L2_cache_size
