"""Decode kernels, interpreted, and their twins: what they store, to the bit, and what they answer."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import CODECS, DTYPES, LAYOUTS, SPECIALS, Layer, kernels, same

from kvgpt.kernels.plan import Meeting, tile

pytestmark = pytest.mark.filterwarnings(
    "ignore:invalid value encountered:RuntimeWarning"  # numpy's, where the interpreter meets NaN
)
every_storage = pytest.mark.parametrize("storage", CODECS)
EXAMPLES = 3
EDGES = {
    "no token": lambda tile: 0,
    "one": lambda tile: 1,
    "a tile less one": lambda tile: tile - 1,
    "a tile": lambda tile: tile,
    "a tile and one": lambda tile: tile + 1,
    "more tiles": lambda tile: 2 * tile + 5,
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _poisoned_memory():
    """What is allocated and not written is NaN: an answer with a hole in it shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@st.composite
def layers(draw, storage, edge):
    head_dim = draw(st.sampled_from([64, 8, 48, 128, 7]))
    length = EDGES[edge](tile(head_dim))
    return Layer(
        storage, head_dim, length, length + draw(st.sampled_from([1, 2, 40])),
        batch=draw(st.sampled_from([1, 2])), heads=draw(st.sampled_from([2, 1])),
        groups=draw(st.sampled_from([1, 2, 3])), dtype=draw(st.sampled_from(DTYPES)),
        layout=draw(st.sampled_from(LAYOUTS)), seed=draw(st.integers(0, 2**31)),
    )  # fmt: skip


def held(layer, parts):
    """Assert that a kernel and its twin store and answer what they must, for an owner of keys and for a follower."""
    module, twin, meeting = kernels(layer.storage), replace(layer), Meeting(CPU, parts)
    for one, decode in ((layer, module.decode), (twin, module.plain)):
        for k, v in ((one.k, one.v), (None, None)):
            one.agrees(decode(one.q, k, v, *one.stored, one.position, meeting))
            one.appended()
    assert all(map(same, layer.parts, twin.parts))


@every_storage
@pytest.mark.parametrize("edge", EDGES)
def test_a_kernel_and_its_twin_store_what_the_codec_makes_and_answer_as_plain_attention(storage, edge):
    @settings(max_examples=EXAMPLES)
    @given(layer=layers(storage, edge), parts=st.integers(1, 8))
    def holds(layer, parts):
        held(layer, parts)

    holds()


@every_storage
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 8])
def test_parts_without_a_token_change_nothing(storage, parts):
    held(Layer(storage, 64, 3 * tile(64) - 2, 3 * tile(64), seed=parts), parts)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("storage", "special"), SPECIALS)
def test_rows_at_the_ends_of_what_a_scale_can_say(storage, special, dtype):
    held(Layer(storage, 48, 5, 9, 1, 2, dtype=dtype, special=special), parts=2)


@every_storage
@pytest.mark.parametrize("parts", [1, 2])
def test_a_token_past_the_room_is_written_nowhere(storage, parts):
    layer = Layer(storage, 8, 20, 21, 2, 2, layout="slice")
    past, meeting = layer.position + 1, Meeting(CPU, parts)
    kernels(storage).decode(layer.q, layer.k, layer.v, *layer.stored, past, meeting)
    layer.untouched_but(None)


@every_storage
def test_parts_leave_their_shares_within_their_places(storage):
    class Fenced(Meeting):
        def place(self, rows, parts, head_dim):
            self.memory = torch.full((rows * parts * (head_dim + 2) + 64,), 7.0)
            return self.memory[:-64].view(rows, parts, head_dim + 2), torch.zeros(rows, dtype=torch.int32)

    layer, meeting = Layer(storage, 48, 20, 21), Fenced(CPU, 2)
    layer.agrees(kernels(storage).decode(layer.q, layer.k, layer.v, *layer.stored, layer.position, meeting))
    assert (meeting.memory[-64:] == 7).all()


@every_storage
def test_a_graph_finds_the_count_of_arrivals_at_zero(storage):
    layer, meeting = Layer(storage, 8, 20, 21, 2, 2), Meeting(CPU, 3)
    for _ in range(2):
        kernels(storage).decode(layer.q, layer.k, layer.v, *layer.stored, layer.position, meeting)
        assert not meeting.place(4, 3, 8)[1].any()
