"""Decode kernels: what they store, to the bit, and what they answer, next to their twins in plain PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import CODECS, DEVICES, LAYOUTS, SPECIAL, Layer, kernels

from kvgpt.kernels.plan import Meeting, tile

pytestmark = [
    pytest.mark.parametrize("device", DEVICES),
    pytest.mark.parametrize("storage", CODECS),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),  # numpy on the interpreter's NaN
]
EXAMPLES = 10


@pytest.fixture(autouse=True)
def _poisoned_memory():
    """What is allocated and not written is NaN: an answer with a hole in it shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@st.composite
def layers(draw, storage, device, dtype):
    head_dim = draw(st.sampled_from([64, 8, 48, 128, 7]))
    length = draw(
        st.sampled_from([tile(head_dim) - 1, 0, 1, tile(head_dim), tile(head_dim) + 1, 2 * tile(head_dim) + 5])
    )
    return Layer(
        storage, head_dim, length, length + draw(st.sampled_from([1, 2, 40])),
        batch=draw(st.sampled_from([1, 2])), heads=draw(st.sampled_from([2, 1])),
        groups=draw(st.sampled_from([1, 2, 3])), dtype=dtype, layout=draw(st.sampled_from(LAYOUTS)),
        special=draw(st.sampled_from(SPECIAL)), seed=draw(st.integers(0, 2**31)), device=device,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_kernel_stores_what_its_codec_makes_and_answers_as_plain_attention(storage, device, dtype):
    module = kernels(storage, device)

    @settings(max_examples=EXAMPLES)
    @given(layer=layers(storage, device, dtype), parts=st.integers(1, 8))
    def holds(layer, parts):
        meeting = Meeting(layer.position.device, parts)
        out = module.decode(layer.q, layer.k, layer.v, *layer.stored, layer.position, meeting)
        layer.appended()
        layer.agrees(out)
        follower = module.decode(layer.q, None, None, *layer.stored, layer.position, meeting)
        layer.appended()
        layer.agrees(follower)

    holds()
