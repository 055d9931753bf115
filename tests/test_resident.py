"""A fresh process: it finds the same caches, says what it grew by, and fails in one line."""

import sys

import pytest
import torch

import kvgpt
from kvgpt.conformance import strategies
from kvgpt.measure import memory, resident
from kvgpt.measure.resident import Serving

EXTRA = 50_000_000  # bytes that a planted cache holds beside its vectors
HEAVY = f"""
import torch
from kvgpt.caches.dense import DenseCache

print("plug-ins may print")

class Heavy(DenseCache):
    def __init__(self, shape):
        super().__init__(shape)
        self.more = torch.ones({EXTRA} if shape.n_layer == 3 else 1, dtype=torch.uint8)
"""
linux = pytest.mark.skipif(memory.resident() is None, reason="the system does not say what is resident")


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """A model of three layers and its serving, in a folder where a parent's imports find ``heavy``."""
    (tmp_path / "heavy.py").write_text(HEAVY)
    monkeypatch.syspath_prepend(tmp_path)
    config = kvgpt.GPTConfig(n_layer=3, n_head=1, n_embd=64, vocab_size=31, block_size=16)
    strategies.model(config, 0, torch.float32).save_pretrained(tmp_path / "tiny")
    return Serving(str(tmp_path / "tiny"), "pretrained", "float32", "heavy:Heavy", 2, 8, threads=1, plug_in=True)


@linux
def test_a_fresh_process_reports_a_planted_extra(serving):
    figures = resident.measure(serving)
    assert EXTRA < figures["resident_memory"] < EXTRA + 20e6
    peak = figures.get("resident_peak")  # absent where /proc/self/clear_refs cannot be written
    assert peak is None or figures["resident_memory"] <= peak + 1e6


@linux
def test_what_failed_in_the_process_is_one_line(serving, tmp_path):
    (tmp_path / "heavy.py").write_text(HEAVY + "\n        raise RuntimeError('no room')\n")
    with pytest.raises(ValueError, match=r"heavy:Heavy.*not measured: RuntimeError: no room$"):
        resident.measure(serving)


@linux
def test_a_process_that_is_not_done_in_time_is_ended(serving):
    with pytest.raises(ValueError, match=r"not measured after 0\.01 s"):
        resident.measure(serving, seconds=0.01)


def test_where_the_system_does_not_say_nothing_is_started(serving, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATM", tmp_path / "absent")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    assert resident.measure(serving) == {}


@pytest.mark.parametrize(("permitted", "said"), [(False, True), (True, False)])
def test_a_peak_that_cannot_be_known_is_absent(serving, monkeypatch, tmp_path, permitted, said):
    monkeypatch.setattr(memory, "resident", iter([40, 100]).__next__)
    (tmp_path / "status").write_text("VmHWM:\t 3 kB\nVmRSS:\t 2 kB\n" if said else "VmRSS:\t 2 kB\n")
    monkeypatch.setattr(resident, "STATUS", tmp_path / "status")
    monkeypatch.setattr(resident, "CLEAR_REFS", tmp_path / ("refs" if permitted else "absent/refs"))
    assert resident.grown(serving) == {"resident_memory": 60}


def test_a_peak_counts_from_before_the_weights(serving, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "resident", iter([2000, 2500]).__next__)
    (tmp_path / "status").write_text("VmHWM:\t 3 kB\n")
    monkeypatch.setattr(resident, "STATUS", tmp_path / "status")
    monkeypatch.setattr(resident, "CLEAR_REFS", tmp_path / "refs")
    assert resident.grown(serving) == {"resident_memory": 500, "resident_peak": 3 * 1024 - 2000}
    assert (tmp_path / "refs").read_text() == "5"


@pytest.mark.parametrize(
    ("grown", "doubted"), [(10**9, False), (3 * 10**9, False), (9 * 10**8, True), (32 * 10**8, True)]
)
def test_growth_that_cannot_be_is_doubted(grown, doubted):
    said = resident.doubts({"resident_memory": grown}, 10**9)
    assert bool(said) is doubted and all(str(grown) in one for one in said)
    assert resident.doubts({}, 10**9) == []
