"""Out of memory: recognised by what torch and Python raise, told in one line, and let go of."""

import gc
import sys
import weakref

import pytest
import torch

from kvgpt.measure import out_of_memory


def raised(run):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        run()
    return caught.value


def test_what_a_cpu_raises_where_memory_ends_is_out_of_memory():
    assert out_of_memory.reason(raised(lambda: torch.empty(2**60))).startswith("out of memory: ")
    assert out_of_memory.reason(raised(lambda: bytearray(2**62))) == "out of memory: MemoryError"
    assert out_of_memory.reason(RuntimeError("DefaultCPUAllocator: not enough memory: you tried ...")) is not None


def test_what_a_gpu_raises_is_told_in_its_first_line():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes.\nSee the documentation")
    assert out_of_memory.reason(error) == "out of memory: CUDA out of memory. Tried to allocate 9 bytes."


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: misaligned address"), ValueError("can't allocate memory")])
def test_other_errors_are_errors(error):
    assert out_of_memory.reason(error) is None


def test_without_torch_memory_still_ends(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert out_of_memory.reason(MemoryError()) == "out of memory: MemoryError"
    out_of_memory.empty_caches()


class Node:
    """What a cycle is made of."""


@pytest.mark.parametrize("has_gpu", [True, False])
def test_caches_are_emptied(monkeypatch, has_gpu):
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(gone() is None))
    cycle = Node()
    cycle.itself, gone = cycle, weakref.ref(cycle)
    gc.disable()
    try:
        del cycle
        out_of_memory.empty_caches()
    finally:
        gc.enable()
    assert gone() is None
    assert emptied == ([True] if has_gpu else []), "first what cannot be reached, then the reserve that it leaves"


@pytest.mark.gpu
def test_a_gpu_goes_on_after_it_ran_out():
    error = raised(lambda: torch.empty(2**50, dtype=torch.uint8, device="cuda"))
    assert out_of_memory.reason(error).startswith("out of memory: CUDA out of memory")
    out_of_memory.empty_caches()
    assert torch.ones(8, device="cuda").sum().item() == 8
