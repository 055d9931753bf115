"""What every codec keeps: held to its definition, to what its parts say, and to attention over what it reads back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt import registry
from kvgpt.caches.codecs.attention import TILE
from kvgpt.caches.codecs.fp8 import Fp8
from kvgpt.caches.codecs.half import HUGE, TINY, rounded_down, rounded_up
from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.codecs.int8 import Int8
from kvgpt.conformance import narrow, oracle, strategies, tolerances

CODECS = {"int8": Int8, "int4": Int4, "fp8": Fp8}
STORAGES = ("int8", "int4", "k8v4", "fp8")
codecs = pytest.mark.parametrize("name", list(CODECS))
storages = pytest.mark.parametrize("storage", STORAGES)


def through(name, x, dtype=torch.float64):
    codec = CODECS[name](x.size(-1))
    return codec.decode(codec.encode(x), dtype)


def cache_of(storage, dtype=torch.float64, room=6, head_dim=8):
    shape = kvgpt.KVShape(2, 2, 2, head_dim, room, dtype, torch.device("cpu"))
    return registry.resolve(storage).cache(shape)


@codecs
@given(x=strategies.awkward_rows(), power=st.sampled_from([0, 0, 0, -12, 12, 60]))
def test_a_vector_reads_back_as_its_definition_says(name, x, power):
    x = x * 2.0**power
    for row, back in zip(x.tolist(), through(name, x).tolist(), strict=True):
        allowed = narrow.STORED[name](row)
        wrong = [
            (given, found, near) for given, found, near in zip(row, back, allowed, strict=True) if found not in near
        ]
        assert not wrong, f"given, read back, and what it may be: {wrong[0]}"


@codecs
@given(x=strategies.awkward_rows(), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_in_a_lower_dtype_the_same_numbers_are_rounded_once(name, x, dtype):
    x = x.to(dtype)
    codec = CODECS[name](x.size(-1))
    kept = codec.encode(x)
    verdict = tolerances.copied(codec.decode(kept, dtype), codec.decode(kept, torch.float64))
    assert verdict, str(verdict)


@codecs
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 6])
def test_a_row_that_is_not_finite_reads_back_as_nan_and_no_other_does(name, bad, place):
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    clean = through(name, x, torch.float32)
    x[2, place] = bad
    back, kept = through(name, x, torch.float32), [0, 1, 3]
    assert back[2].isnan().all(), "a row with a value that is not finite must not look like one that is"
    assert torch.equal(back[kept], clean[kept]), "another row changed"


@codecs
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_zeros_read_back_as_zeros(name, dtype):
    assert torch.equal(
        through(name, torch.tensor([[0.0, -0.0, 0.0], [-0.0, -0.0, -0.0]], dtype=dtype)), torch.zeros(2, 3)
    )


@codecs
@given(seed=strategies.seeds, exponent=st.integers(17, 120))
def test_huge_rows_saturate_without_an_infinity_or_a_nan(name, seed, exponent):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0**exponent
    back = through(name, x)
    assert back.isfinite().all(), "a finite row read back as something that is not"
    assert (back.abs() <= x.abs().amax(dim=-1, keepdim=True) * (1 + 2**-9)).all(), "larger than all of its row"


@given(
    x=st.lists(st.floats(-70000, 70000) | st.floats(-1e-6, 1e-6), min_size=1, max_size=9).map(
        lambda numbers: torch.tensor(numbers, dtype=torch.float64)
    )
)
def test_rounding_to_fp16_goes_the_way_that_it_says_and_no_further(x):
    down, up = rounded_down(x), rounded_up(x)
    held = x.clamp(-HUGE, HUGE)
    assert (down <= held).all() and (up >= held).all()
    exact = held.to(torch.float16).double() == held
    near = torch.nextafter(down, torch.full_like(down, torch.inf))
    assert torch.equal(torch.where(exact, down, near), up), "a nearer one lies between"


def test_rounding_takes_the_smallest_numbers_off_zero():
    x = torch.tensor([1e-30, -1e-30, 0.0, -0.0], dtype=torch.float64)
    assert rounded_down(x).tolist() == [0.0, -TINY, 0.0, 0.0] and rounded_up(x).tolist() == [TINY, 0.0, 0.0, 0.0]


@storages
@pytest.mark.parametrize("held", [1, TILE, 2 * TILE + 3])
@pytest.mark.parametrize("head_dim", [8, 7])
def test_the_tiles_of_a_decode_make_one_attention(storage, held, head_dim):
    cache = cache_of(storage, room=held, head_dim=head_dim)
    generator = torch.Generator().manual_seed(held)
    q = torch.randn(2, 6, 1, head_dim, generator=generator, dtype=torch.float64)
    k, v = 3 + torch.randn(2, 2, 2, held, head_dim, generator=generator, dtype=torch.float64)
    cache.append(0, k, v)
    verdict = tolerances.exact(cache.attend_held(0, q), oracle.attention(q, *cache.read(0)))
    assert verdict, str(verdict)


@storages
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("held", [TILE, TILE + 1])
def test_a_decode_makes_no_more_numbers_than_a_tile_has(storage, dtype, held):
    class Codes(type(cache_of(storage))):
        def read(self, layer):
            assert self.filled(layer) <= TILE, "the cache was dequantised"
            self.reads = True
            return super().read(layer)

    cache = Codes(kvgpt.KVShape(1, 1, 2, 8, held, dtype, torch.device("cpu")))
    k = torch.ones(1, 2, held, 8, dtype=dtype)
    cache.append(0, k, k)
    assert torch.allclose(cache.attend_held(0, k[:, :, :1]), k[:, :, :1], rtol=1e-2)
    assert hasattr(cache, "reads") == (held == TILE), "one tile alone takes fewer calls made numbers at once"


@storages
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_round_trip_is_what_read_returns(storage, dtype):
    cache = cache_of(storage, dtype, head_dim=7)
    k, v = torch.randn(2, 2, 2, 5, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    cache.append(0, k, v)
    for read, promised in zip(cache.read(0), cache.round_trip(0, k, v), strict=True):
        assert torch.equal(read, promised), "a stored vector reads back as something else than the cache says"


def test_keys_and_values_of_different_widths_read_back_as_each_width_does():
    k, v = torch.randn(2, 2, 2, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixed, wide, slim = (cache_of(storage) for storage in ("k8v4", "int8", "int4"))
    for cache in (mixed, wide, slim):
        cache.append(0, k, v)
    assert torch.equal(mixed.read(0)[0], wide.read(0)[0]) and torch.equal(mixed.read(0)[1], slim.read(0)[1])
    assert (mixed.error_bound, mixed.symmetric) == (slim.error_bound, False)
    assert 2 * mixed.nbytes == wide.nbytes + slim.nbytes


@pytest.mark.parametrize(
    ("storage", "names"),
    [
        ("fp8", {"codes", "scales"}),
        ("int4", {"codes", "scales", "minima"}),
        ("k8v4", {"k.codes", "k.scales", "v.codes", "v.scales", "v.minima"}),
    ],
)
def test_a_saved_cache_is_restored_by_the_names_of_its_parts(storage, names):
    cache, other = cache_of(storage), cache_of(storage)
    k, v = torch.randn(2, 2, 2, 4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for layer in range(2):
        cache.attend(layer, k, k, v)
    cache.advance(4)
    state = {name: part.clone() for name, part in cache.state().items()}
    assert set(state) == {f"{name}.{layer}" for name in names for layer in range(2)}
    other.restore(state, 4)
    for layer in range(2):
        assert all(map(torch.equal, cache.read(layer), other.read(layer)))
