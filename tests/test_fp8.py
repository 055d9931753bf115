"""The fp8 storage: half the distance between two e4m3 numbers, in any unit."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.caches.codecs.fp8 import LARGEST, UNIT, Fp8
from kvgpt.caches.quantised import CodedCache
from kvgpt.conformance import Scene, again, strategies


def through(x, dtype=torch.float64):
    codec = Fp8(x.size(-1))
    kept = codec.encode(x)
    return kept, codec.decode(kept, dtype)


@given(x=strategies.awkward_rows(), power=st.sampled_from([0, 6]))
def test_a_number_reads_back_within_half_the_distance_of_its_neighbours(x, power):
    x = x * 2.0**power
    kept, back = through(x)
    scale = kept["scales"].double().unsqueeze(-1)
    allowed = torch.maximum(back.abs() / 16, scale / 2**14)  # three bits of mantissa, and the subnormal distance
    error = (x - back).abs()
    assert (error <= allowed * (1 + 1e-6)).all(), f"error {error.max()} of scales {scale.flatten()}"


@given(seed=strategies.seeds, exponent=st.integers(-60, -6))
def test_tiny_rows_are_no_larger_than_their_scale_can_say(seed, exponent):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0**exponent
    kept, back = through(x)
    scale = kept["scales"].double().unsqueeze(-1)
    error, most = (
        (x.clamp(-LARGEST / UNIT * scale, LARGEST / UNIT * scale) - back).abs(),
        torch.maximum(x.abs() / 16, scale / 2**14),
    )
    assert (error <= most * (1 + 1e-6)).all()


@given(x=strategies.awkward_rows(), power=st.integers(0, 6))
def test_codes_are_the_same_in_any_unit_and_of_what_was_read_back(x, power):
    kept, back = through(x)
    assert torch.equal(through(back)[1], back), "it drifts"
    assert torch.equal(through(x * 2.0**power)[1], back * 2.0**power), "codes depend on the unit"
    assert torch.equal(through(-x)[1], -back), "not symmetric"
    assert kept["codes"].dtype == torch.uint8 and kept["codes"].shape == x.shape


def test_the_kit_takes_codes_of_a_dtype_that_has_no_infinity():
    class Native(Fp8):
        narrow = torch.float8_e4m3fn

        def rounded(self, x):
            return super().rounded(x).view(self.narrow)

    class NativeCache(CodedCache):
        keys = values = Native

    again("A10-poison", NativeCache, scene=Scene(), sizes=(2, 1), kept=1, n=1)
