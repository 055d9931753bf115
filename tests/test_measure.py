"""The instruments: bytes that are known, and a device that is described."""

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
    touched = torch.ones(40_000_000, dtype=torch.uint8)
    assert touched.nbytes == 40_000_000 and (before is None or 30e6 < memory.resident() - before < 60e6)
    monkeypatch.setattr(memory, "STATM", tmp_path / "absent")
    assert memory.resident() is None, "what a system does not say is not known"


@pytest.mark.gpu
def test_a_gpus_allocator_counts_in_blocks():
    grown = memory.allocation(lambda: torch.empty(1_000_000, dtype=torch.uint8, device="cuda"), "cuda")
    assert 1_000_000 <= grown.kept <= 1_000_512
