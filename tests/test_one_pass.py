"""One pass over what is kept in fewer bits: compiled for real, it is the attention in tiles."""

import pytest
import torch

import kvgpt
from kvgpt import compiling
from kvgpt.caches.codecs import attention
from kvgpt.caches.codecs.attention import Side, in_one_pass, in_tiles
from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.codecs.int8 import Int8
from kvgpt.compiling import Compiled
from kvgpt.conformance import tolerances
from kvgpt.registry import resolve

LACKING = compiling.uncompilable(torch.device("cpu"))
needs_a_compiler = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
HEAD_DIM = 8


def held(sides, batch_size, tokens, room):
    generator = torch.Generator().manual_seed(tokens)
    for side in sides:
        x = torch.randn(side.count, batch_size, 2, room, HEAD_DIM, generator=generator)
        yield side, {name: part[:, :, :, :tokens] for name, part in side.codec.encode(x).items()}


@needs_a_compiler
@pytest.mark.parametrize("codecs", [(Int8,), (Int8, Int4)])
def test_it_is_the_attention_in_tiles_whatever_the_length(codecs):
    """Of batches, lengths, rooms and groups other than those that it was compiled for."""
    sides = [Side("", codec(HEAD_DIM), 2 // len(codecs)) for codec in codecs]
    for batch_size, tokens, room, groups in ((3, 5, 9, 1), (2, attention.TILE + 3, 300, 1), (1, 9, 9, 2)):
        q = torch.randn(batch_size, 2 * groups, 1, HEAD_DIM, generator=torch.Generator().manual_seed(0))
        kept = list(held(sides, batch_size, tokens, room))
        with torch.inference_mode():
            torch.testing.assert_close(in_one_pass(q, kept), in_tiles(q, kept), rtol=1e-5, atol=1e-6)


def filled(variant, dtype, tokens):
    shape = kvgpt.KVShape(1, 2, 2, HEAD_DIM, tokens, dtype, torch.device("cpu"))
    cache, generator = resolve(variant).cache(shape), torch.Generator().manual_seed(0)
    k, v = (torch.randn(2, 2, tokens, HEAD_DIM, generator=generator).to(dtype) for _ in "kv")
    cache.attend(0, k, k, v)
    return cache, torch.randn(2, 2, 1, HEAD_DIM, generator=generator).to(dtype)


@needs_a_compiler
@pytest.mark.parametrize(("variant", "dtype"), [("v1", torch.bfloat16), ("v2", torch.bfloat16), ("v2", torch.float32)])
def test_a_cache_that_holds_enough_attends_in_one_pass_as_well_as_plain_torch(monkeypatch, variant, dtype):
    module = "kvgpt.caches.dense" if variant == "v1" else "kvgpt.caches.quantised"
    name = "vectors_in_one_pass" if variant == "v1" else "in_one_pass"
    calls, real = [], getattr(attention, name)
    monkeypatch.setattr(f"{module}.{name}", lambda *given: calls.append(name) or real(*given))
    cache, q = filled(variant, dtype, 37)
    k, v = (x.double() for x in cache.read(0))
    with torch.inference_mode():
        cache.attend_held(0, q)
        assert not calls, f"{cache.nbytes} bytes are too few"
        monkeypatch.setattr(attention, "LEAST", 2 * 2 * 37 * HEAD_DIM)
        found = cache.attend_held(0, q)
        assert calls == [name] and found.dtype == dtype and found.shape == q.shape
        plain = kvgpt.attention.matmul(q, *cache.read(0))
    for verdict in tolerances.by_ratio(found, [plain], kvgpt.attention.matmul(q.double(), k, v)):
        assert verdict, str(verdict)


@needs_a_compiler
def test_gradients_named_paths_and_prompts_take_the_plain_way(monkeypatch):
    for module, name in (("dense", "vectors_in_one_pass"), ("quantised", "in_one_pass")):
        monkeypatch.setattr(f"kvgpt.caches.{module}.{name}", None)
    monkeypatch.setattr(attention, "LEAST", 1)
    with torch.inference_mode():
        cache, q = filled("dense+matmul", torch.bfloat16, 5)
        assert cache.compiles and cache.attend_held(0, q).isfinite().all()
        cache, q = filled("v1", torch.bfloat16, 5)
        assert cache.compiles and cache.attend_held(0, torch.cat([q, q], dim=2)).isfinite().all()
    for variant in ("v1", "v2"):
        cache, q = filled(variant, torch.bfloat16, 5)
        assert torch.is_grad_enabled() and cache.attend_held(0, q).isfinite().all()


def test_without_a_compiler_there_is_no_pass(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not filled("v2", torch.float32, 3)[0].compiles and not filled("v1", torch.bfloat16, 3)[0].compiles


def test_past_the_sizes_that_torch_keeps_of_one_function_it_starts_again(monkeypatch):
    made, real = [], torch.compile

    def counted(function, **options):
        made.append(function)
        return real(function, backend="eager", **options)

    monkeypatch.setattr("torch.compile", counted)
    double = Compiled(lambda x: 2 * x, dynamic=False)
    for size in range(2, 13):
        assert torch.equal(double(torch.ones(size)), torch.full((size,), 2.0))
    assert len(made) == 2 and made[0] is not made[1]


@needs_a_compiler
@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_where_compiling_fails_the_plain_way_serves_with_a_warning(monkeypatch, variant):
    def fails(graph, inputs):
        raise OSError("no space left on device")

    real = torch.compile
    monkeypatch.setattr("torch.compile", lambda function, **options: real(function, backend=fails, **options))
    for name in ("_one_pass", "_vectors"):
        monkeypatch.setattr(attention, name, getattr(attention, name).__wrapped__)
    monkeypatch.setattr(attention, "LEAST", 1)
    cache, q = filled(variant, torch.bfloat16, 5)
    with torch.inference_mode():
        with pytest.warns(RuntimeWarning, match="torch's compiler failed.*no space left"):
            found = cache.attend_held(0, q)
        torch.testing.assert_close(found, kvgpt.attention.matmul(q, *cache.read(0)), rtol=0.05, atol=0.05)
