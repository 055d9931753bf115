"""On a GPU: every promise by every variant, and the same tokens as on the CPU."""

import pytest
import torch

import kvgpt
from kvgpt.conformance import DTYPES, Subject, asked_of, strategies

pytestmark = pytest.mark.gpu
EXAMPLES = 12  # of each promise: small tensors are slow there
CASES = [
    pytest.param(promise, Subject(name, dtype, "cuda"), id=f"{name}-{dtype}-{promise.name}")
    for name in kvgpt.variants()
    for dtype in DTYPES
    for promise in asked_of(Subject(name, dtype))[0]
]


@pytest.mark.parametrize(("promise", "subject"), CASES)
def test_a_built_in_variant_keeps_its_promises_on_cuda(promise, subject):
    promise(subject, EXAMPLES)


def test_generate_on_cuda_is_generate_on_the_cpu():
    config = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=32, vocab_size=31, block_size=24)
    model, ids = strategies.model(config, 0), strategies.ids(3, 5, 0)
    here = kvgpt.Engine(model, "v1", 3).generate(ids, 12, temperature=0.8, top_k=7, seed=3)
    there = kvgpt.Engine(model.to("cuda"), "v1", 3).generate(ids, 12, temperature=0.8, top_k=7, seed=3)
    assert torch.equal(here, there.cpu())
