"""Decode kernels, interpreted, and their twins: what they store, to the bit, and what they answer."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import CODECS, DTYPES, LAYOUTS, SPECIAL, Layer, kernels, same

from kvgpt.kernels.plan import Meeting, tile

pytestmark = [
    pytest.mark.parametrize("storage", CODECS),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),  # numpy on the interpreter's NaN
]
EXAMPLES = 10
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _poisoned_memory():
    """What is allocated and not written is NaN: an answer with a hole in it shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@st.composite
def layers(draw, storage, dtype):
    head_dim = draw(st.sampled_from([64, 8, 48, 128, 7]))
    length = draw(
        st.sampled_from([tile(head_dim) - 1, 0, 1, tile(head_dim), tile(head_dim) + 1, 2 * tile(head_dim) + 5])
    )
    return Layer(
        storage, head_dim, length, length + draw(st.sampled_from([1, 2, 40])),
        batch=draw(st.sampled_from([1, 2])), heads=draw(st.sampled_from([2, 1])),
        groups=draw(st.sampled_from([1, 2, 3])), dtype=dtype, layout=draw(st.sampled_from(LAYOUTS)),
        special=draw(st.sampled_from(SPECIAL)), seed=draw(st.integers(0, 2**31)),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_and_its_twin_store_what_the_codec_makes_and_answer_as_plain_attention(storage, dtype):
    module = kernels(storage)

    @settings(max_examples=EXAMPLES)
    @given(layer=layers(storage, dtype), parts=st.integers(1, 8))
    def holds(layer, parts):
        twin, meeting = replace(layer), Meeting(CPU, parts)
        for one, decode in ((layer, module.decode), (twin, module.plain)):
            for k, v in ((one.k, one.v), (None, None)):  # the owner of keys and values, then a follower
                one.agrees(decode(one.q, k, v, *one.stored, one.position, meeting))
                one.appended()
        assert all(map(same, layer.parts, twin.parts))

    holds()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_token_past_the_room_is_written_nowhere(storage, parts):
    layer = Layer(storage, 8, 20, 21, 2, 2, layout="slice")
    past, meeting = layer.position + 1, Meeting(CPU, parts)
    kernels(storage).decode(layer.q, layer.k, layer.v, *layer.stored, past, meeting)
    layer.untouched_but(None)


def test_a_graph_finds_the_count_of_arrivals_at_zero(storage):
    layer, meeting = Layer(storage, 8, 20, 21, 2, 2), Meeting(CPU, 3)
    for _ in range(2):
        kernels(storage).decode(layer.q, layer.k, layer.v, *layer.stored, layer.position, meeting)
        assert not meeting.place(4, 3, 8)[1].any()
