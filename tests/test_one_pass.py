"""One pass over what a cache holds: compiled for real, it is the attention of plain torch over the same numbers."""

import math

import pytest
import torch

import kvgpt
from kvgpt import compiling
from kvgpt.attention import matmul
from kvgpt.caches.codecs import attention
from kvgpt.caches.codecs.attention import Side, in_one_pass, in_tiles
from kvgpt.caches.codecs.fp8 import Fp8
from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.codecs.int8 import Int8
from kvgpt.caches.int8 import Int8Cache
from kvgpt.conformance import tolerances
from kvgpt.native import attention as native
from kvgpt.native import build
from kvgpt.registry import resolve

LACKING = compiling.uncompilable(torch.device("cpu"))
needs_a_compiler = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
HEAD_DIM = 33  # odd, and more than a register holds
DTYPES = [torch.float32, torch.bfloat16]
# Rows, tokens, room and groups: less than a vector, a tile and some, stretches that several threads share.
SIZES = [(1, 1, 1, 1), (3, 5, 9, 1), (2, 131, 300, 1), (1, 1000, 1001, 2), (1, 129, 129, 3)]


def drawn(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def agree(found, q, k, v):
    with torch.inference_mode():
        plain, exact = matmul(q, k.to(q.dtype), v.to(q.dtype)), matmul(q.double(), k.double(), v.double())
    assert found.dtype == q.dtype and found.shape == q.shape
    for verdict in tolerances.by_ratio(found, [plain], exact):
        assert verdict, str(verdict)


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "tokens", "room", "groups"), SIZES)
def test_over_vectors_it_is_attention(dtype, rows, tokens, room, groups):
    q, k, v = drawn(rows, 2 * groups, 1, HEAD_DIM), *drawn(2, rows, 2, room, HEAD_DIM)
    q, k, v = 3 * q.to(dtype), k[:, :, :tokens].to(dtype), v[:, :, :tokens].to(dtype)
    run = native.loop(native.VECTORS[dtype], native.VECTORS[dtype], dtype, HEAD_DIM)
    agree(native.attend(run, q, [k], [v]), q, k, v)


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codecs", [(Int8, Int8), (Int4, Int4), (Fp8, Fp8), (Int8, Int4)], ids=str)
@pytest.mark.parametrize(("rows", "tokens", "room", "groups"), SIZES)
def test_over_codes_it_is_attention_over_what_they_stand_for(codecs, dtype, rows, tokens, room, groups):
    q, x = drawn(rows, 2 * groups, 1, HEAD_DIM).to(dtype), drawn(2, rows, 2, room, HEAD_DIM) + 0.5
    kept, sides = [], [Side(name, codec(HEAD_DIM), 1) for name, codec in zip("kv", codecs, strict=True)]
    for which, side in enumerate(sides):
        parts = side.codec.encode(x[which : which + 1])
        kept.append((side, {name: part[:, :, :, :tokens] for name, part in parts.items()}))
    run = native.loop(*(codec.native for codec in codecs), dtype, HEAD_DIM)
    k, v = (side.codec.decode(parts, torch.float64)[0] for side, parts in kept)
    with torch.inference_mode():
        agree(in_one_pass(run, q, kept), q, k, v)
        agree(in_tiles(q, kept), q, k, v)


@needs_a_compiler
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_however_many_threads_share_a_head_the_answer_is_one(threads):
    q, k, v = drawn(1, 2, 1, HEAD_DIM), *drawn(2, 1, 1, 700, HEAD_DIM)
    k[:, :, 650] *= 30  # the largest scores come last
    run, before = native.loop("Plain<float>", "Plain<float>", torch.float32, HEAD_DIM), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        agree(native.attend(run, q, [k], [v]), q, k, v)
    finally:
        torch.set_num_threads(before)


@needs_a_compiler
@pytest.mark.parametrize("codec", [Int8, Fp8, Int4])
def test_a_row_that_is_no_number_is_seen_and_huge_and_tiny_ones_are_read(codec):
    side, q = Side("", codec(HEAD_DIM), 2), drawn(1, 1, 1, HEAD_DIM)
    run = native.loop(codec.native, codec.native, torch.float32, HEAD_DIM)
    for factor in (torch.nan, 1e-6, 1e-12, 0.0, 1e5):
        x = drawn(2, 1, 1, 40, HEAD_DIM)
        x[:, :, :, 7] *= factor
        kept = [(side, side.codec.encode(x))]
        k, v = side.codec.decode(kept[0][1], torch.float32)
        found = in_one_pass(run, q, kept)
        torch.testing.assert_close(found, matmul(q, k, v), equal_nan=True, rtol=1e-4, atol=1e-5)
        assert bool(found.isnan().all()) == math.isnan(factor)


@needs_a_compiler
def test_no_kind_of_nan_is_rounded_to_a_number():
    side, q = Side("", Int8(HEAD_DIM), 2), drawn(1, 1, 1, HEAD_DIM).bfloat16()
    parts = side.codec.encode(drawn(2, 1, 1, 5, HEAD_DIM))
    parts["scales"].view(torch.int16)[:, :, :, 3] = 0x7FFF
    run = native.loop(Int8.native, Int8.native, torch.bfloat16, HEAD_DIM)
    assert in_one_pass(run, q, [(side, parts)]).isnan().all()


def filled(variant, dtype, tokens):
    shape = kvgpt.KVShape(1, 2, 2, HEAD_DIM, tokens, dtype, torch.device("cpu"))
    cache = resolve(variant).cache(shape)
    k, v = (x.to(dtype) for x in drawn(2, 2, 2, tokens, HEAD_DIM))
    cache.attend(0, k, k, v)
    return cache, drawn(2, 2, 1, HEAD_DIM, seed=1).to(dtype)


@pytest.fixture
def calls(monkeypatch):
    made, real = [], native.attend
    monkeypatch.setattr(native, "attend", lambda *given: made.append(given) or real(*given))
    return made


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", ["v1", "v2", "int4", "k8v4", "fp8"])
def test_a_cache_that_holds_enough_attends_in_one_pass(monkeypatch, calls, variant, dtype):
    cache, q = filled(variant, dtype, 37)
    k, v = cache.read(0)
    with torch.inference_mode():
        cache.attend_held(0, q)
        assert not calls, f"{cache.nbytes} bytes are too few"
        monkeypatch.setattr(attention, "LEAST", 2 * 2 * 37 * HEAD_DIM)
        found = cache.attend_held(0, q)
    assert len(calls) == 1
    agree(found, q, k, v)


@needs_a_compiler
def test_gradients_named_paths_prompts_and_what_no_loop_reads_take_the_plain_way(monkeypatch, calls):
    monkeypatch.setattr(attention, "LEAST", 1)
    with torch.inference_mode():
        cache, q = filled("dense+matmul", torch.bfloat16, 5)
        cache.attend_held(0, q)
        for variant in ("v1", "v2"):
            cache, q = filled(variant, torch.bfloat16, 5)
            cache.attend_held(0, torch.cat([q, q], dim=2))
            for dtype in (torch.float64, torch.float16):
                cache, q = filled(variant, dtype, 5)
                cache.attend_held(0, q)
    for variant in ("v1", "v2"):
        cache, q = filled(variant, torch.bfloat16, 5)
        assert torch.is_grad_enabled() and cache.attend_held(0, q).isfinite().all()
    assert not calls


@needs_a_compiler
def test_a_codec_that_decodes_otherwise_has_no_loop_of_its_parents(monkeypatch, calls):
    monkeypatch.setattr(attention, "LEAST", 1)
    other = type("Other", (Int8,), {"numbers": lambda self, codes, dtype: -codes.to(dtype)})
    shape = kvgpt.KVShape(1, 1, 1, HEAD_DIM, 4, torch.float32, torch.device("cpu"))
    cache = type("Mine", (Int8Cache,), {"keys": other, "values": other})(shape)
    k, v = drawn(2, 1, 1, 4, HEAD_DIM)
    cache.attend(0, k, k, v)
    with torch.inference_mode():
        cache.attend_held(0, k[:, :, :1])
    assert not calls


@pytest.mark.usefixtures("nothing_is_compiled_yet")
def test_without_a_compiler_there_is_no_pass(monkeypatch, calls):
    monkeypatch.setattr(attention, "LEAST", 1)
    monkeypatch.setattr("shutil.which", lambda name: None)
    for variant in ("v1", "v2"):
        cache, q = filled(variant, torch.float32, 3)
        with torch.inference_mode():
            agree(cache.attend_held(0, q), q, *cache.read(0))
    assert not calls


@needs_a_compiler
@pytest.mark.usefixtures("nothing_is_compiled_yet")
@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_where_compiling_fails_the_plain_way_serves_with_a_warning(monkeypatch, variant):
    def fails(source):
        raise OSError("no space left on device")

    monkeypatch.setattr(build, "_compiled", fails)
    monkeypatch.setattr(attention, "LEAST", 1)
    cache, q = filled(variant, torch.bfloat16, 5)
    with torch.inference_mode():
        with pytest.warns(RuntimeWarning, match="torch's compiler failed.*no space left"):
            found = cache.attend_held(0, q)
        torch.testing.assert_close(found, matmul(q, *cache.read(0)), rtol=0.05, atol=0.05)
        assert torch.equal(cache.attend_held(0, q), found), "and no second warning"
