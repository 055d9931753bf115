"""Caches that attend through their loop in C++, however little they hold: what they promise."""

import pytest
import torch

from kvgpt import compiling
from kvgpt.caches.codecs import attention
from kvgpt.conformance import Subject, asked_of
from kvgpt.native import attention as native

EXAMPLES = 4  # of each promise: each new size of a head is compiled
LACKING = compiling.uncompilable(torch.device("cpu"))
SUBJECTS = [("v1", "float32"), ("v1", "bfloat16"), *((name, "float32") for name in ("v2", "int4", "k8v4", "fp8"))]


@pytest.fixture
def calls(monkeypatch):
    made, real = [], native.attend
    monkeypatch.setattr(attention, "LEAST", 1)
    monkeypatch.setattr(native, "attend", lambda *given: made.append(given) or real(*given))
    return made


@pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
@pytest.mark.parametrize(("variant", "dtype"), SUBJECTS)
def test_a_cache_keeps_its_promises_through_its_loop(calls, variant, dtype):
    subject = Subject(variant, dtype)
    for promise in asked_of(subject)[0]:
        promise(subject, EXAMPLES)
    assert calls, "the loop was never called"
