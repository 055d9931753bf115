"""The instruments: bytes that are known, and a device that is described."""

import mmap
from types import SimpleNamespace

import pytest
import torch

from kvgpt import storages
from kvgpt.measure import device, memory


def test_an_allocation_of_n_bytes_reads_as_n():
    grown = memory.allocation(lambda: torch.empty(1_000_000, dtype=torch.uint8), "cpu")
    assert grown == memory.Allocation(kept=1_000_000, peak=1_000_000)


def test_what_is_freed_again_counts_for_the_peak_only():
    def double():
        torch.empty(500_000, dtype=torch.uint8)
        return torch.empty(200_000, dtype=torch.uint8)

    assert memory.allocation(double, "cpu") == memory.Allocation(kept=200_000, peak=500_000)


def test_a_storage_behind_many_tensors_counts_once():
    whole = torch.empty(100, dtype=torch.float32)
    thing = type("Thing", (), {})()
    thing.views, thing.more = [whole[:10], {"half": whole[50:]}], (torch.empty(5, dtype=torch.int8), thing)
    assert storages.distinct_bytes(storages.tensors_of(thing)) == 405


def test_the_device_is_described_by_stable_facts():
    assert device.describe("cpu") == device.describe("cpu")
    assert device.describe("cpu")["kind"] == "cpu" and device.describe("cpu")["torch"] == torch.__version__


def test_what_is_resident_grows_by_what_is_touched(monkeypatch, tmp_path):
    before = memory.resident()
    with mmap.mmap(-1, 40_000_000) as touched:  # fresh pages: an allocator might give some that were touched before
        touched[::4096] = b"1" * len(range(0, 40_000_000, 4096))
        assert before is None or 30e6 < memory.resident() - before < 60e6
    monkeypatch.setattr(memory, "STATM", tmp_path / "absent")
    assert memory.resident() is None, "what a system does not say is not known"


def test_in_use_is_what_the_driver_says_once_all_work_is_done(monkeypatch):
    called = []
    gpu = SimpleNamespace(read=lambda: called.append("read") or SimpleNamespace(memory_used=70))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: called.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: called.append("empty_cache"))
    memory.empty_reserve("cuda")
    assert memory.in_use("cuda", gpu) == 70 and called == ["empty_cache", "synchronize", "read"]
    memory.empty_reserve("cpu")
    assert memory.in_use("cpu", gpu) is None and len(called) == 3


@pytest.mark.gpu
def test_what_was_freed_is_in_use_until_the_reserve_is_emptied():
    memory.empty_reserve("cuda")
    before = memory.in_use("cuda")
    held = torch.ones(256 * 2**20, dtype=torch.uint8, device="cuda")
    assert memory.in_use("cuda") - before >= held.nbytes
    del held
    assert memory.in_use("cuda") - before >= 256 * 2**20
    memory.empty_reserve("cuda")
    assert memory.in_use("cuda") == before


@pytest.mark.gpu
def test_a_gpus_allocator_counts_in_blocks():
    grown = memory.allocation(lambda: torch.empty(1_000_000, dtype=torch.uint8, device="cuda"), "cuda")
    assert 1_000_000 <= grown.kept <= 1_000_512
