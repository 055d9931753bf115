"""The int4 storage: half a stored scale, whatever the sizes of scale and minimum, and two codes a byte."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.caches.codecs.half import HUGE, TINY
from kvgpt.caches.codecs.int4 import LEVELS, Int4
from kvgpt.conformance import strategies


def through(x, dtype=torch.float64):
    codec = Int4(x.size(-1))
    kept = codec.encode(x)
    return kept, codec.decode(kept, dtype)


def half_a_scale(kept):
    return kept["scales"].double().unsqueeze(-1) / 2


@given(x=strategies.awkward_rows(), power=st.integers(-30, 2), offset=st.sampled_from([0.0, 0.0, 1e-5, -333.3]))
def test_a_vector_reads_back_within_half_its_stored_scale(x, power, offset):
    x = x * 2.0**power + offset
    kept, back = through(x)
    error = (x - back).abs()
    assert (error <= half_a_scale(kept) * (1 + 1e-12)).all(), f"error {error.max()} of scales {kept['scales']}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(x=strategies.awkward_rows())
def test_in_a_lower_dtype_roundings_of_it_come_on_top(dtype, x):
    x = x.to(dtype)
    kept, back = through(x, dtype)
    eps, largest = torch.finfo(dtype).eps, x.double().abs().amax(dim=-1, keepdim=True)
    allowed = half_a_scale(kept) * (1 + 1e-6) + largest * eps
    assert ((x.double() - back.double()).abs() <= allowed).all(), "beyond half the stored scale and roundings"


@given(x=strategies.awkward_rows())
def test_the_scale_is_as_small_as_the_range_lets_it_be(x):
    kept, _ = through(x)
    low, high = x.amin(dim=-1), x.amax(dim=-1)
    ulp = 2.0**-10 * low.abs() + TINY
    assert (kept["minima"].double() <= low).all() and (kept["minima"].double() >= low - ulp).all()
    step = (high - kept["minima"].double()) / LEVELS
    assert (kept["scales"].double() <= step * (1 + 2.0**-10) + TINY).all()


@given(seed=strategies.seeds, size=st.sampled_from([2, 3, 7, 64, 65]), power=st.integers(-6, 6))
def test_what_was_read_back_has_the_same_codes_again_in_any_unit(seed, size, power):
    x = torch.randn(4, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, :2] = torch.tensor([-2.0, 1.0])  # a range that is wide beside what rounding the minimum takes
    kept, back = through(x)
    assert all(torch.equal(kept[name], part) for name, part in through(back)[0].items()), "it drifts"
    assert torch.equal(through(x * 2.0**power)[1], back * 2.0**power), "codes depend on the unit"


@given(seed=strategies.seeds, size=st.integers(1, 19))
def test_a_permuted_vector_reads_back_permuted(seed, size):
    generator = torch.Generator().manual_seed(seed)
    x, order = torch.randn(3, size, generator=generator), torch.randperm(size, generator=generator)
    assert torch.equal(through(x[:, order])[1], through(x)[1][:, order]), "a place has a map of its own"


@pytest.mark.parametrize(("size", "packed"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_the_first_half_lies_in_the_low_bits(size, packed):
    x = torch.arange(size, dtype=torch.float64) * 15 / max(1, size - 1)
    codes = Int4(size).encode(x)["codes"]
    assert codes.shape == (packed,) and codes.dtype == torch.uint8
    low, high = codes & 15, codes >> 4
    assert torch.equal(torch.cat((low, high))[:size], x.round().to(torch.uint8)), "not in their places"
    assert size % 2 == 0 or high[-1] == 0, "bits that nobody uses"


def test_huge_rows_saturate_at_both_ends():
    x = torch.tensor([[-1e9, 0.0, 1e9]], dtype=torch.float64)
    assert through(x)[1].tolist() == [[-HUGE, 0.0, -HUGE + LEVELS * HUGE]]
