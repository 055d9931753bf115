"""A case: its record holds what it said of itself, what the device did, and what the run doubts."""

import pytest
import torch
from fake_watch import Quiet, Throttled

import kvgpt
from kvgpt import record
from kvgpt.conformance import strategies
from kvgpt.costs import Demand
from kvgpt.measure.case import Case
from kvgpt.measure.fill import fill, stand_at
from kvgpt.measure.floors import Claim, Floors
from kvgpt.measure.roof import Roof


def case(watch, doubts=()):
    extra = {}
    floors = Floors(lambda: Roof(read={1: 10.0}, copy=10.0, flops=10.0))
    return Case(extra, "v2", "int8", {"model": "nano"}, watch, floors, doubts), extra


def test_a_record_holds_the_workload_and_what_the_device_did():
    one, extra = case(Throttled(), doubts=["calibration: off"])
    one.begin("latency", batch_size=2)
    claims = [Claim("per_token_latency", [Demand(0.0, 10.0)], 1)]
    figures = {"per_token_latency": record.metric("per_token_latency", 4.0)}
    one.end(figures, ["noisy"], {"rounds": 3}, claims, new_tokens=8)
    made = extra["kvgpt"]
    assert made["workload"] == {"model": "nano", "batch_size": 2, "new_tokens": 8}
    assert made["validity"] == {"ok": False, "notes": ["calibration: off", "noisy", "throttled between 1 and 2"]}
    assert made["details"] == {"rounds": 3, "temperature": 82, "working_set": 1}
    assert made["metrics"]["fraction_of_floor"]["value"] == 0.25 and "floor" not in figures


def test_a_sound_case_on_a_quiet_device_is_valid():
    one, extra = case(Quiet())
    one.begin("memory")
    one.end({})
    assert extra["kvgpt"]["validity"] == {"ok": True, "notes": []} and "details" not in extra["kvgpt"]


def test_a_case_that_failed_is_a_record_without_figures():
    one, extra = case(Quiet())
    one.begin("capacity", batch_size=9)
    one.failed("out of memory: 3 GB asked for")
    made = extra["kvgpt"]
    assert made["metrics"] == {} and made["workload"]["batch_size"] == 9
    assert made["validity"] == {"ok": False, "notes": ["out of memory: 3 GB asked for"]}


def test_a_case_that_says_nothing_of_itself_is_no_record():
    one, extra = case(Quiet())
    with pytest.raises(ValueError, match="family ''"):
        one.end({})
    assert extra == {}


@pytest.mark.parametrize("variant", ["v0", "v1", "v4", "dense-cat", "int8+window"])
def test_an_engine_stands_where_it_is_told_to(variant):
    config = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=32)
    engine = kvgpt.Engine(strategies.model(config, 0, torch.float32), variant, 2)
    for length in (0, 20, 7, 31, 31):
        stand_at(engine, length)
        assert engine.length == length
        engine.decode(torch.zeros(2, 1, dtype=torch.int64))
        assert engine.length == length + 1


def test_what_keeps_nothing_cannot_be_filled():
    cache = kvgpt.Engine(kvgpt.GPT(kvgpt.GPTConfig(1, 1, 4, 5, 8)), "v0").cache
    with pytest.raises(ValueError, match="NoCache keeps nothing"):
        fill(cache, 3)
