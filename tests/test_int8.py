"""The int8 storage: what a vector reads back as, and the bytes that it takes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.caches.base import KVShape
from kvgpt.caches.codecs.attention import TILE
from kvgpt.caches.codecs.half import HUGE, TINY
from kvgpt.caches.codecs.int8 import LEVELS, Int8
from kvgpt.caches.int8 import Int8Cache, UnfusedInt8Cache
from kvgpt.conformance import oracle, strategies, tolerances

SUBNORMAL = 2.0**-14  # the least fp16 number that is normal


def quantise(x):
    kept = Int8(x.size(-1)).encode(x)
    return kept["codes"], kept["scales"]


def dequantise(codes, scales, dtype):
    return Int8(codes.size(-1)).decode({"codes": codes, "scales": scales}, dtype)


@given(x=strategies.awkward_rows())
def test_a_vector_reads_back_within_half_its_stored_scale(x):
    codes, scale = quantise(x)
    half = scale.double().unsqueeze(-1) / 2
    assert (scale >= SUBNORMAL).logical_or(x.abs().amax(-1) < LEVELS * SUBNORMAL).all(), "the drawn rows are in range"
    error = (x - dequantise(codes, scale, torch.float64)).abs()
    assert (error <= half * (1 + 1e-12)).all(), f"error {error.max()} of rows with half a scale of {half.flatten()}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(x=strategies.awkward_rows())
def test_in_a_lower_dtype_one_rounding_comes_on_top(dtype, x):
    x = x.to(dtype)
    codes, scale = quantise(x)
    back = dequantise(codes, scale, dtype).double()
    allowed = scale.double().unsqueeze(-1) / 2 * (1 + 1e-6) + back.abs() * torch.finfo(dtype).eps / 2
    assert ((x.double() - back).abs() <= allowed).all(), "beyond half the stored scale and one rounding"


@given(seed=strategies.seeds, exponent=st.integers(-60, -8))
def test_tiny_rows_have_the_bound_that_the_docstring_states(seed, exponent):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0**exponent
    codes, scale = quantise(x)
    assert (scale >= TINY).all(), "a scale of zero divides"
    error = (x - dequantise(codes, scale, torch.float64)).abs()
    allowed = scale.double().unsqueeze(-1) / 2 + torch.where(scale < SUBNORMAL, LEVELS * 2.0**-25, 0.0).unsqueeze(-1)
    assert (error <= allowed * (1 + 1e-12)).all(), "beyond half a scale and 127 roundings of a subnormal one"


@given(seed=strategies.seeds, exponent=st.integers(23, 120))
def test_huge_rows_saturate_without_an_infinity_or_a_nan(seed, exponent):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0**exponent
    codes, scale = quantise(x)
    back = dequantise(codes, scale, torch.float64)
    half = scale.double().unsqueeze(-1) / 2
    assert back.isfinite().all(), "a finite row read back as something that is not"
    assert (back.abs() <= LEVELS * HUGE).all(), "larger than the largest that a code and a scale can say"
    held = x.clamp(-LEVELS * HUGE, LEVELS * HUGE)
    assert ((held - back).abs() <= half * (1 + 1e-12)).all(), "not the nearest that can be said"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_row_that_is_not_finite_reads_back_as_nan_and_no_other_does(bad):
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    clean = dequantise(*quantise(x), torch.float32)
    x[2, 5] = bad
    back = dequantise(*quantise(x), torch.float32)
    assert back[2].isnan().all(), "a row with a value that is not finite must not look like one that is"
    kept = [0, 1, 3]
    assert torch.equal(back[kept], clean[kept]), "another row changed"


@given(x=strategies.awkward_rows())
def test_codes_of_what_was_read_back_are_the_same_codes(x):
    codes, scale = quantise(x)
    again, scale_again = quantise(dequantise(codes, scale, torch.float64))
    assert torch.equal(codes, again), "quantising twice is not quantising once"
    assert torch.equal(scale[codes.abs().amax(-1) > 0], scale_again[codes.abs().amax(-1) > 0]), "the scale drifts"


@given(x=strategies.awkward_rows(), power=st.integers(-4, 6))
def test_scaling_by_a_power_of_two_scales_what_is_read_and_a_sign_flips_it(x, power):
    codes, scale = quantise(x)
    louder, loud_scale = quantise(x * 2.0**power)
    flipped, same_scale = quantise(-x)
    normal = (scale >= SUBNORMAL * 2.0**5) & (scale <= HUGE / 2.0**7)
    assert torch.equal(codes[normal], louder[normal]), "codes depend on the unit"
    assert torch.equal(scale[normal].double() * 2.0**power, loud_scale[normal].double()), "the scale does not follow"
    assert torch.equal(codes, -flipped) and torch.equal(scale, same_scale), "not symmetric"


@pytest.mark.parametrize("cache_class", [Int8Cache, UnfusedInt8Cache])
def test_stored_codes_stay_bitwise_as_they_were_written(cache_class):
    shape = KVShape(1, 2, 2, 16, 12, torch.float32, torch.device("cpu"))
    cache = cache_class(shape)
    generator = torch.Generator().manual_seed(0)
    first = None
    for _ in range(12):
        k, v = torch.randn(2, 2, 2, 1, 16, generator=generator)
        cache.attend(0, k, k, v)
        cache.advance(1)
        codes = cache.parts["codes"][0][:, :, :, 0].clone()
        first = codes if first is None else first
        assert torch.equal(first, codes), f"the first token's codes changed by step {cache.length}"


@given(data=st.data())
def test_round_trip_is_what_read_returns(data):
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    seed = data.draw(strategies.seeds)
    cache = Int8Cache(KVShape(1, 2, 3, 7, 5, dtype, torch.device("cpu")))
    k, v = torch.randn(2, 2, 3, 5, 7, generator=torch.Generator().manual_seed(seed)).to(dtype)
    cache.append(0, k, v)
    for read, promised in zip(cache.read(0), cache.round_trip(0, k, v), strict=True):
        assert torch.equal(read, promised), "a stored vector reads back as something else than the cache says"


@pytest.mark.parametrize("held", [1, TILE - 1, TILE, TILE + 1, 2 * TILE + 3])
@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("loudest", ["first", "last"])
def test_the_tiles_of_a_decode_make_one_attention(held, heads, loudest):
    cache = Int8Cache(KVShape(1, 2, 2, 8, held, torch.float64, torch.device("cpu")))
    generator = torch.Generator().manual_seed(held)
    q = torch.randn(2, heads, 1, 8, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, held, 8, generator=generator, dtype=torch.float64)
    q[0] *= 1000  # one row's scores lie far from the other's
    k[:, :, 0 if loudest == "first" else -1] *= 5  # the greatest score so far is replaced, or stays
    cache.append(0, k, v)
    verdict = tolerances.exact(cache.attend_held(0, q), oracle.attention(q, *cache.read(0)))
    assert verdict, str(verdict)
