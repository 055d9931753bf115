"""The loops in C++ on processors with narrower registers than this one has: the same answers, without a warning."""

import platform

import pytest
import torch
import torch.nn.functional as F

from kvgpt import compiling
from kvgpt.attention import matmul
from kvgpt.caches.codecs.attention import Side, in_one_pass
from kvgpt.caches.codecs.fp8 import Fp8
from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.codecs.int8 import Int8
from kvgpt.native import attention, build, rows

LACKING = compiling.uncompilable(torch.device("cpu"))
pytestmark = [
    pytest.mark.skipif(LACKING is not None, reason=str(LACKING)),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="these are instructions of x86-64"),
]
# Not these: of vectors that no function passes on, and of what gcc's own headers leave open on purpose.
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-Wno-maybe-uninitialized")
HEAD_DIM = 33


@pytest.fixture(params=["-mno-avx512f", "-mno-avx"])
def processor(request, monkeypatch, nothing_is_compiled_yet):
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, *STRICT, *request.param.split()))


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("dtype", rows.DTYPES)
def test_products_are_the_same(dtype):
    generator = torch.Generator().manual_seed(0)
    norm_weight, norm_bias, bias = (torch.randn(n, generator=generator).to(dtype) for n in (75, 75, 70))
    weight = torch.randn(70, 75, generator=generator).to(dtype)
    codes = torch.randint(-127, 128, weight.shape, generator=generator, dtype=torch.int8)
    close = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 8 * torch.finfo(dtype).eps * 75**0.5}
    with torch.inference_mode():
        for M in (1, 2, 3, 8):
            x = torch.randn(M, 75, generator=generator).to(dtype)
            normed = F.layer_norm(x, (75,), norm_weight, norm_bias)
            plain = F.gelu(F.linear(normed.float(), weight.float(), bias.float()), approximate="tanh")
            found = rows.normed(x, norm_weight, norm_bias, 1e-5, weight, bias, gelu=True)
            torch.testing.assert_close(found.float(), plain, **close)
            if dtype == torch.bfloat16:  # one more compilation
                continue
            found = rows.few_rows(x, codes, scale=bias)
            torch.testing.assert_close(
                found.float(), F.linear(x.float(), codes.float()) * bias.float(), rtol=0.01, atol=1
            )


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("dtype", rows.DTYPES)
def test_attention_is_the_same(dtype):
    generator = torch.Generator().manual_seed(0)
    q, x = torch.randn(2, 4, 1, HEAD_DIM, generator=generator).to(dtype), torch.randn(2, 2, 2, 133, HEAD_DIM)
    close = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 4 * torch.finfo(dtype).eps}
    vectors = x.to(dtype)
    run = attention.loop(attention.VECTORS[dtype], attention.VECTORS[dtype], dtype, HEAD_DIM)
    found = attention.attend(run, q, [vectors[0]], [vectors[1]])
    torch.testing.assert_close(found.float(), matmul(q.float(), *vectors.float()), **close)
    for codec in (Int8, Int4, Fp8) if dtype == torch.float32 else ():
        side = Side("", codec(HEAD_DIM), 2)
        kept = [(side, side.codec.encode(x))]
        run = attention.loop(codec.native, codec.native, dtype, HEAD_DIM)
        plain = matmul(q.float(), *side.codec.decode(kept[0][1], torch.float32))
        with torch.inference_mode():
            torch.testing.assert_close(in_one_pass(run, q, kept).float(), plain, **close)
