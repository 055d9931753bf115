"""The memory family's case: its figures add up, and the driver's stands apart from the allocator's."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from fake_watch import Quiet

import kvgpt
from kvgpt.conformance import strategies
from kvgpt.measure import resident
from kvgpt.measure.case import Case
from kvgpt.options import Settings

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=32, vocab_size=31, block_size=16)


@pytest.fixture
def figures(pytestconfig, monkeypatch):
    """``figures(variant, new_tokens)``: the values of one case, and the record that it left."""
    path = pytestconfig.rootpath / "benchmarks" / "bench_memory.py"
    spec = importlib.util.spec_from_file_location("bench_memory_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    started = []

    def measure(serving):
        started.append(serving)
        return {"resident_memory": 10**6, "resident_peak": 2 * 10**6}

    monkeypatch.setattr(resident, "measure", measure)

    def run(variant, new_tokens, used=None, device="cpu"):
        started.clear()
        model, extra = strategies.model(CONFIG, 0, torch.float32).to(device), {}
        chosen = Settings(model="tiny", weights="random:0", lengths=(4, 9, 99), device=device)
        benchmark = SimpleNamespace(disabled=False, pedantic=lambda run, args, rounds: run(*args))
        module.bench_memory(
            benchmark,
            Case(extra, variant, variant, {}, Quiet(), floors=None),
            lambda name, rows, room: kvgpt.Engine(model, name, rows, room),
            model,
            torch.zeros(2, 1, dtype=torch.int64, device=device),
            chosen,
            used or (lambda: None),
            variant,
            2,
            new_tokens,
        )
        made = extra["kvgpt"]
        return {name: figure["value"] for name, figure in made["metrics"].items()}, made, list(started)

    return run


@pytest.mark.parametrize("variant", ["v0", "v1", "v2", "v3", "dense-cat"])
def test_prefill_steady_and_peak_are_apart_and_add_up(figures, variant):
    found, made, _ = figures(variant, 9)
    kept = found["weights_bytes"] + found["cache_bytes"]
    history = 2 * 9 * 8 if variant == "v0" else 0
    assert found["steady_memory"] == kept + 8 + history, "weights, cache, its position, and the ids of what recomputes"
    assert found["prefill_peak"] > kept and found["peak_memory"] > kept
    if variant != "v0":
        assert found["prefill_peak"] > found["peak_memory"], "eight tokens a row take more room than one"
    if variant in ("v1", "v2", "v3"):
        assert found["peak_memory"] == kept + found["transient_bytes"]
    assert made["validity"]["ok"] and "device_memory" not in found


def test_a_cache_that_grows_holds_nothing_before_the_prompt(figures):
    grows, ready = (figures(variant, 9)[0] for variant in ("dense-cat", "v1"))
    assert abs(grows["prefill_peak"] - ready["prefill_peak"]) < ready["cache_bytes"] / 2, "what it grows by counts once"
    assert grows["steady_memory"] == ready["steady_memory"]


def test_without_a_prompt_nothing_is_fed_before_the_step(figures):
    assert "prefill_peak" not in figures("v1", 1)[0]


def test_a_fresh_process_is_started_for_the_longest_that_fits(figures):
    assert figures("v1", 4)[2] == []
    found, made, (started,) = figures("v1", 9)
    assert (started.model, started.variant, started.batch_size, started.new_tokens) == ("tiny", "v1", 2, 9)
    assert found["resident_memory"] == 10**6 and found["resident_peak"] == 2 * 10**6 and made["validity"]["ok"]


def test_what_the_driver_counts_stands_beside_what_the_allocator_does(figures):
    found, _, _ = figures("v1", 4, used=lambda: 123_456_789)
    assert found["device_memory"] == 123_456_789 and found["peak_memory"] < 10**6


@pytest.mark.gpu
def test_on_a_gpu_the_driver_counts_more_than_the_allocator(figures):
    from kvgpt.measure.memory import in_use

    found, _, started = figures("v1", 9, used=lambda: in_use("cuda"), device="cuda")
    assert found["device_memory"] > found["peak_memory"] and started == []
