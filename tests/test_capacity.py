"""Capacity: the search finds the exact edge of any memory and leaves nothing behind, whatever goes wrong."""

import json
from collections import Counter
from math import log2
from types import SimpleNamespace

import pytest
import torch
from fake_allocator import ERRORS, FakeMemory
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt import transients
from kvgpt.conformance import strategies
from kvgpt.measure import loads
from kvgpt.measure.attempt import DeviceMemory, attempt, quick_collections
from kvgpt.measure.capacity import Probe, search

pytest_plugins = ["pytester"]

sizes = st.integers(1, 10**6)


@pytest.fixture(autouse=True, scope="module")
def _quick_collections():
    with quick_collections():
        yield


def steady(edge):
    """A memory into which ``edge`` sequences fit, today as tomorrow."""
    return lambda batch: Probe(batch, batch <= edge, peak=batch)


@given(edge=st.integers(0, 10**6), predicted=st.integers(-5, 2**21))
def test_the_edge_is_found_from_any_prediction_in_few_probes(edge, predicted):
    found = search(steady(edge), predicted)
    assert found.max_batch == edge and found.interval == (edge, edge)
    assert len(found.probes) <= 2 * log2(abs(max(predicted, 1) - edge) + 2) + 12
    assert found.peak == (edge or None)
    asked = Counter(probe.batch for probe in found.probes)
    assert asked[edge + 1] == 5 and asked[edge] == (5 if edge else 0) and found.confirmed == (asked[edge], 5)


def test_a_right_prediction_costs_the_confirmation_alone():
    assert len(search(steady(37), 37).probes) == 10


def test_nothing_fits_and_everything_fits_are_both_said():
    nothing = search(lambda batch: Probe(batch, fitted=False, why="too many"), 40)
    assert nothing.interval == (0, 0) and nothing.outcome == "nothing fits: too many" and not nothing.at_limit
    everything = search(steady(100), 3, limit=64)
    assert everything.interval == (64, 64) and everything.confirmed == (5, 0)
    assert everything.at_limit and everything.outcome == "everything fits up to the limit of 64"


@given(st.data())
def test_an_edge_that_wavers_gives_the_interval_and_its_lower_end(data):
    sure = data.draw(st.integers(0, 200))
    wide = data.draw(st.integers(1, 4))
    predicted = data.draw(st.integers(1, 300))
    turns = Counter()

    def fits(batch):
        turns[batch] += 1
        wavering = sure < batch <= sure + wide and turns[batch] % 2 == 0
        return Probe(batch, fitted=batch <= sure or wavering)

    found = search(fits, predicted)
    assert found.interval == (sure, sure + wide) and found.max_batch == sure
    assert found.outcome == f"probes disagree from {sure + 1} to {sure + wide}"
    failed = [probe.batch for probe in found.probes if not probe.fitted]
    assert found.max_batch < min(failed), "no batch that ever failed is within the figure"
    assert found.confirmed[1] < 5, "one more fitted at times, and that is counted"


def test_a_batch_that_failed_once_is_not_the_figure():
    outcomes = {7: iter([True, True, False])}
    found = search(lambda batch: Probe(batch, fitted=next(outcomes.get(batch, iter([batch < 7])))), 7)
    assert found.interval == (6, 7) and found.confirmed == (5, 1)


def test_a_batch_that_fits_only_later_is_not_the_figure():
    tries = Counter()

    def fits(batch):
        tries[batch] += 1
        return Probe(batch, fitted=batch < 8 or (batch == 8 and tries[batch] > 1))

    found = search(fits, 7)
    assert found.interval == (7, 8) and found.max_batch == 7


@pytest.mark.parametrize(("limit", "times"), [(0, 5), (4, 0)])
def test_a_search_of_nothing_is_refused(limit, times):
    with pytest.raises(ValueError, match=f"limit={limit}, times={times}"):
        search(steady(3), 2, limit, times)


@given(fixed=sizes, held=sizes, step=sizes, edge=st.integers(0, 5000), predicted=st.integers(0, 10**4), data=st.data())
def test_a_drawn_memory_is_filled_to_its_last_sequence_and_left_empty(fixed, held, step, edge, predicted, data):
    budget = fixed + edge * (held + step) + data.draw(st.integers(0, held + step - 1))
    memory = FakeMemory(budget, data.draw(st.sampled_from([None, *ERRORS])))
    left = []

    def fits(batch):
        probe = attempt(memory.load(fixed, held, step), batch, memory, held=0)
        left.append(memory.taken)
        return probe

    found = search(fits, predicted)
    assert found.max_batch == edge and found.interval == (edge, edge)
    assert not any(left), "every probe gives everything back, those that failed too"
    assert found.peak == (fixed + edge * (held + step) if edge else None)
    failed = [probe for probe in found.probes if not probe.fitted]
    assert all(probe.why for probe in failed)
    assert memory.refused == (0 if memory.error is None else len(failed))


def test_what_the_model_holds_counts_against_the_budget():
    memory = FakeMemory(1000)
    assert attempt(memory.load(1, 100, 0), 5, memory, held=499) == Probe(5, fitted=True, peak=1000)
    refused = attempt(memory.load(1, 100, 0), 5, memory, held=500)
    assert refused == Probe(5, fitted=False, peak=1001, why="1001 bytes are needed, 1000 are there")


def test_stages_after_the_one_that_did_not_fit_are_not_run():
    memory = FakeMemory(10)

    def stages(batch):
        yield memory.take(11)
        pytest.fail("the second stage")

    assert not attempt(stages, 1, memory, held=0).fitted


def test_another_error_escapes_a_probe_which_still_leaves_nothing():
    memory = FakeMemory(10)

    def stages(batch):
        block = memory.take(5)
        yield block
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        attempt(stages, 1, memory, held=0)
    del caught
    memory.release()
    assert memory.taken == 0


def test_a_run_records_what_fits_and_trains_each_model_once(pytester, pytestconfig, monkeypatch, tmp_path):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # pytest-benchmark times nothing in a worker
    config = kvgpt.GPTConfig(n_layer=2, n_head=1, n_embd=64, vocab_size=257, block_size=16)
    strategies.model(config, 0, torch.float32).save_pretrained(tmp_path / "tiny")
    grid = pytester.makefile(".toml", grid="rounds = 1\nwarmup = 0\nseconds = 0.0\n")
    out = pytester.path / "out.json"
    result = pytester.runpytest_subprocess(
        str(pytestconfig.rootpath / "benchmarks" / "bench_capacity.py"),
        f"--rootdir={pytestconfig.rootpath}",
        f"-c{pytestconfig.rootpath / 'pytest.ini'}",
        f"--kvgpt-grid={grid}",
        f"--kvgpt-model={tmp_path / 'tiny'}",
        "--kvgpt-variants=v0,v1",
        "--kvgpt-memory-budget=1000000",
        f"--benchmark-json={out}",
    )
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["left out 1 cases: the model of v1 is that of v0: only their caches differ"])
    records = [benchmark["extra_info"]["kvgpt"] for benchmark in json.loads(out.read_text())["benchmarks"]]
    served, trained = (
        [made for made in records if made["workload"]["mode"] == mode] for mode in ("inference", "training")
    )
    assert [made["variant"] for made in served] == ["v0", "v1"]
    assert [made["variant"] for made in trained] == ["v0"]
    for made in served:
        metrics, details = made["metrics"], made["details"]
        (batch, predicted) = (metrics[name]["value"] for name in ("max_batch", "max_batch_predicted"))
        assert details["confirmed"] == [5, 5] and details["outcome"] == "found"
        assert metrics["max_batch"]["interval"] == [batch, batch] and batch == pytest.approx(predicted, rel=0.1)
        assert [batch, 1, metrics["peak_memory"]["value"]] in details["probes"]
        assert metrics["peak_memory"]["value"] <= made["workload"]["memory_budget"] == 1_000_000
        assert metrics["throughput"]["value"] * metrics["per_token_latency"]["value"] == pytest.approx(batch)
        assert metrics["cache_bytes"]["value"] == batch * metrics.get("bytes_per_sequence", {"value": 0})["value"]
    for made in trained:
        assert made["metrics"]["max_batch"]["value"] == 0 and "total_latency" not in made["metrics"]
        assert made["details"]["outcome"].startswith("nothing fits: ")


class FakeDevice:
    """What is asked of ``torch.cuda``, of a card of 1000 bytes."""

    def __init__(self, monkeypatch, allocated):
        self.fraction, self.fractions, self.emptied = 1.0, [], 0
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=1000))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: allocated)
        monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda: self.fraction)
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", self.set)
        monkeypatch.setattr(torch.cuda, "empty_cache", self.empty)

    def set(self, fraction):
        self.fraction = fraction
        self.fractions.append(fraction)

    def empty(self):
        self.emptied += 1


def test_a_device_is_limited_to_the_budget_and_let_go_after(monkeypatch):
    device = FakeDevice(monkeypatch, allocated=300)
    memory = DeviceMemory(600)
    monkeypatch.setattr(memory, "watch", FakeMemory(600).watch)

    def stages(batch):
        yield batch
        raise KeyError(device.fraction)  # of 600 bytes, and of the 100 that others hold

    with pytest.raises(KeyError, match=r"0\.7"):
        attempt(stages, 1, memory, held=200)
    assert device.fractions == [0.7, 1.0] and device.emptied == 1


def test_a_device_without_a_budget_has_all_of_its_memory(monkeypatch):
    device = FakeDevice(monkeypatch, allocated=300)
    memory = DeviceMemory()
    with memory.limited(held=200):
        assert memory.budget == 1000 and device.fraction == 1.0
    with pytest.raises(ValueError, match="1001 bytes: this device has 1000"):
        DeviceMemory(1001)


def test_an_attempt_on_a_device_empties_its_cache_after_the_frames_are_gone(monkeypatch):
    device, counted = FakeDevice(monkeypatch, allocated=0), FakeMemory(100, ERRORS[0])
    memory = DeviceMemory()
    memory.watch = counted.watch
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: setattr(device, "emptied", counted.taken))
    probe = attempt(counted.load(10, 30, 0), 4, memory, held=0)
    assert not probe.fitted and probe.peak is None and "CUDA out of memory" in probe.why
    assert device.emptied == 0, "nothing was held any more when the cache was emptied"


@pytest.mark.gpu
def test_a_device_refuses_what_goes_over_the_budget():
    mib = 2**20
    before = torch.cuda.get_per_process_memory_fraction()
    memory = DeviceMemory(256 * mib)

    def stages(batch):
        yield torch.empty(batch * mib, dtype=torch.uint8, device="cuda")

    found = search(lambda batch: attempt(stages, batch, memory, held=0), 200)
    assert 128 <= found.max_batch <= 256 and found.interval[0] == found.interval[1]
    assert torch.cuda.get_per_process_memory_fraction() == before


@pytest.mark.gpu
@pytest.mark.parametrize("variant", ["v0", "v1", "v2", "v3", "v4"])
def test_sequences_fit_on_a_device_within_the_bound(variant):
    config = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=32, vocab_size=61, block_size=96)
    first = kvgpt.Engine(strategies.model(config, 0, torch.bfloat16).to("cuda"), variant, 1, 96)
    need = transients.serving(config, kvgpt.Variant.parse(variant), "bfloat16", 96, transients.last_chunk(96))
    memory = DeviceMemory(need.room(2000))
    load = loads.serving(lambda batch: kvgpt.Engine(first.model, variant, batch, 96), 96)
    found = search(lambda batch: attempt(load, batch, memory, first.model.nbytes), 2000)
    assert found.max_batch > 0 and found.confirmed == (5, 5)
    assert variant == "v0" or found.interval[1] <= need.bound(memory.budget)
