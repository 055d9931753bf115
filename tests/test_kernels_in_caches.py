"""Caches that decode through their kernels, interpreted: what they promise, and when the kernel must not be used."""

import pytest
import torch
from stored import kernels

from kvgpt.attention import matmul
from kvgpt.caches.base import KVShape
from kvgpt.caches.dense import DenseCache
from kvgpt.caches.int4 import Int4Cache
from kvgpt.caches.int8 import Int8Cache
from kvgpt.conformance import Subject, asked_of
from kvgpt.kernels.plan import Meeting

EXAMPLES = 2  # of each promise


class ByKernel:
    """Decodes through the kernel of its storage, wherever it lies."""

    def __init__(self, shape):
        super().__init__(shape)
        self.kernel = kernels(self.storage).decode
        self.meeting = Meeting(shape.device, parts=2)


class Dense(ByKernel, DenseCache):
    storage = "dense"


class Int8(ByKernel, Int8Cache):
    storage = "int8"


class Int4(ByKernel, Int4Cache):
    storage = "int4"


CACHES = [Dense, Int8, Int4]
SHAPE = KVShape(1, 2, 2, 8, 20, torch.float32, torch.device("cpu"))


def never(*_):
    pytest.fail("the kernel was called")


def vectors(n):
    return [torch.randn(2, 2, n, 8, generator=torch.Generator().manual_seed(number)) for number in range(3)]


@pytest.mark.parametrize(
    ("promise", "cache"),
    [
        pytest.param(promise, cache, id=f"{cache.storage}-{promise.name}")
        for cache in CACHES
        for promise in asked_of(Subject(cache, "float32"))[0]
    ],
)
def test_a_cache_keeps_its_promises_through_its_kernel(promise, cache):
    promise(Subject(cache, "float32"), EXAMPLES)


@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.storage)
def test_a_path_that_was_asked_for_by_name_is_not_bypassed(cache):
    one = cache(SHAPE)
    assert one.graphable
    one.attention, one.kernel = matmul, never
    one.attend(0, *vectors(1))
    assert not one.graphable


@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.storage)
def test_a_prompt_goes_the_plain_way_and_the_kernel_goes_on_from_it(cache):
    one, plain = cache(SHAPE), cache.__mro__[2](SHAPE)
    kernel, one.kernel = one.kernel, never
    for each in (one, plain):
        each.attend(0, *vectors(5))
        each.advance(5)
    one.kernel = kernel
    out, right = (each.attend(0, *vectors(1)) for each in (one, plain))
    assert plain.kernel is None and not plain.graphable, "on a CPU plain PyTorch decodes"
    assert all(map(torch.equal, one.read(0), plain.read(0)))
    torch.testing.assert_close(out, right)


def test_a_fork_decodes_through_the_same_kernel_and_meets_elsewhere():
    one = Dense(SHAPE)
    twin = one.fork()
    assert twin.kernel is one.kernel and twin.meeting is not one.meeting


def test_a_kernel_that_is_put_into_a_cache_is_used_and_forked():
    one = DenseCache(SHAPE)
    one.kernel = kernels("dense").plain
    assert one.graphable and one.fork().kernel is one.kernel
    assert torch.equal(one.attend(0, *vectors(1)), DenseCache(SHAPE).attend(0, *vectors(1)))
