"""Decode kernels on a GPU: many sizes, graphs, streams, and the sanitizer's opinion."""

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from stored import CODECS, DTYPES, LAYOUTS, SPECIALS, Layer, kernels, same

import kvgpt
from kvgpt import registry
from kvgpt.caches.base import KVShape
from kvgpt.caches.dense import DenseCache
from kvgpt.conformance import PROMISES, Subject
from kvgpt.kernels.plan import Meeting, tile

pytestmark = pytest.mark.gpu
HERE = Path(__file__).parent
SIZES = [(head_dim, parts, "bfloat16") for head_dim, parts in ((64, None), (64, 1), (8, 3), (48, 4), (128, 5), (7, 2))]
SIZES += [(64, 8, dtype) for dtype in DTYPES]
GRAPHABLE = ("dense", "int8", "int4", "int8+cla2")


def cache_of(name, batch=2, room=200, dtype=torch.bfloat16):
    return registry.resolve(name).cache(KVShape(2, batch, 4, 64, room, dtype, torch.device("cuda")))


def vectors(cache, number):
    """Q, k, v of a step, the same for the same number."""
    generator, shape = torch.Generator().manual_seed(number), cache.shape
    size = (shape.batch_size, shape.n_head, 1, shape.head_dim)
    return [torch.randn(size, generator=generator).to(shape.device, shape.dtype) for _ in range(3)]


def stepped(cache, number):
    out = [cache.attend(layer, *vectors(cache, 10 * number + layer)) for layer in range(2)]
    cache.advance(1)
    return out


@pytest.mark.parametrize(("head_dim", "parts", "dtype"), SIZES)
@pytest.mark.parametrize("storage", CODECS)
def test_many_sizes_and_odd_lengths(storage, head_dim, parts, dtype):
    module, size, meeting = kernels(storage, "cuda"), tile(head_dim), Meeting(torch.device("cuda"), parts)
    lengths = [0, 1, 2, size - 1, size, size + 1, 3 * size + 7, 510, 511, 512, 1023]
    loads = [(1, 16, 1), (3, 2, 3)]
    for seed, (length, load) in enumerate([*product(lengths, loads), (700, (70, 5, 1))]):
        layer = Layer(
            storage, head_dim, length, max(length + 1, 1024 if seed % 2 else 0), *load, dtype,
            LAYOUTS[seed % len(LAYOUTS)], seed=seed, device="cuda",
        )  # fmt: skip
        for k, v in ((layer.k, layer.v), (None, None)):
            layer.agrees(module.decode(layer.q, k, v, *layer.stored, layer.position, meeting))
            layer.appended()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("storage", "special"), SPECIALS)
def test_rows_at_the_ends_of_what_a_scale_can_say(storage, special, dtype):
    layer = Layer(storage, 64, 5, 9, 1, 2, dtype=dtype, special=special, device="cuda")
    meeting = Meeting(torch.device("cuda"), 2)
    layer.agrees(kernels(storage, "cuda").decode(layer.q, layer.k, layer.v, *layer.stored, layer.position, meeting))
    layer.appended()


@pytest.mark.parametrize("storage", CODECS)
def test_a_kernel_and_its_twin_store_and_answer_alike(storage):
    module, meeting = kernels(storage, "cuda"), Meeting(torch.device("cuda"))
    one, other = (Layer(storage, 64, 100, 128, 2, 4, device="cuda", seed=3) for _ in range(2))
    out = module.decode(one.q, one.k, one.v, *one.stored, one.position, meeting)
    right = module.plain(other.q, other.k, other.v, *other.stored, other.position, meeting)
    assert all(map(same, one.parts, other.parts))
    torch.testing.assert_close(out, right)


def test_offsets_beyond_32_bits():
    small, meeting = Layer("int8", 64, 500, 512, device="cuda"), Meeting(torch.device("cuda"), 2)
    rows, room, decode = 1100, 33_000, kernels("int8", "cuda").decode
    codes = torch.zeros(2, rows, 1, room, 64, dtype=torch.int8, device="cuda")
    scales = torch.zeros(2, rows, 1, room, dtype=torch.float16, device="cuda")
    assert codes[0].numel() > 2**31
    for large, part in zip((codes, scales), small.parts, strict=True):
        large[:, -1:, :, :500] = part[:, :, :, :500]
    q, k, v = (x.expand(rows, -1, -1, -1) for x in (small.q, small.k, small.v))
    out = decode(q, k, v, codes, scales, small.position, meeting)
    right = decode(small.q, small.k, small.v, *small.stored, small.position, meeting)
    assert torch.equal(out[-1:], right)
    assert same(codes[:, -1, :, 500], small.parts[0][:, 0, :, 500])


@pytest.mark.parametrize("storage", CODECS)
def test_a_token_past_the_room_is_written_nowhere(storage):
    layer = Layer(storage, 64, 20, 21, 2, 3, layout="slice", device="cuda")
    kernels(storage, "cuda").decode(
        layer.q, layer.k, layer.v, *layer.stored, layer.position + 1, Meeting(torch.device("cuda"))
    )
    layer.untouched_but(None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", GRAPHABLE)
def test_a_cache_on_a_gpu_is_as_graphable_as_it_says(variant, dtype):
    PROMISES["A14-graph"](Subject(variant, dtype, "cuda"), 12)


@pytest.mark.parametrize("name", ["dense", "int8", "int4"])
def test_a_captured_step_replayed_at_every_position_is_the_eager_one(name):
    cache, eager = cache_of(name), cache_of(name)
    for number in range(3):  # compiles, and makes the places where parts meet
        stepped(cache, number)
        stepped(eager, number)
    fed, graph = [vectors(cache, layer) for layer in range(2)], torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = [cache.attend(layer, *fed[layer]) for layer in range(2)]
        cache.position.add_(1)
    cache.crop(3)
    for number in range(3, 200):
        for layer in range(2):
            for held, new in zip(fed[layer], vectors(cache, 10 * number + layer), strict=True):
                held.copy_(new)
        graph.replay()
        right = stepped(eager, number)
        assert all(map(torch.equal, out, right)), f"after {number} tokens"
    assert int(cache.position) == 200
    for layer in range(2):
        assert all(map(same, cache.stored(layer), eager.stored(layer)))


@pytest.mark.parametrize("name", ["dense", "int8", "int4"])
def test_caches_that_decode_at_once_do_not_meet_each_other(name):
    one, other, alone = (cache_of(name, batch=1, room=1024) for _ in range(3))
    streams = torch.cuda.Stream(), torch.cuda.Stream()
    fed = [vectors(alone, number) for number in range(300)]
    torch.cuda.synchronize()
    outs = [], []
    for number in range(300):
        for stream, cache, out in zip(streams, (one, other), outs, strict=True):
            with torch.cuda.stream(stream):
                out.append(cache.attend(0, *fed[number]))
                cache.attend(1, *fed[number])
                cache.advance(1)
    torch.cuda.synchronize()
    for number in range(300):
        right = alone.attend(0, *fed[number])
        alone.attend(1, *fed[number])
        alone.advance(1)
        assert torch.equal(outs[0][number], right) and torch.equal(outs[1][number], right), f"step {number}"


def test_a_subclass_that_may_store_otherwise_has_no_kernel_and_a_windowed_cache_neither():
    class Mine(DenseCache):
        pass

    shape = cache_of("dense").shape
    assert DenseCache(shape).graphable
    assert Mine(shape).kernel is None and not Mine(shape).graphable
    assert not cache_of("int8+window").graphable
    assert not registry.resolve("dense+matmul").cache(shape).graphable


@pytest.mark.parametrize("name", ["v1", "v3"])  # of others, codes flip where a number lies between two
def test_tokens_are_those_of_the_plain_path(name):
    model = kvgpt.GPT(kvgpt.GPTConfig(n_layer=4, n_head=4, n_embd=256, vocab_size=97, block_size=96)).to("cuda")
    ids = torch.arange(10, device="cuda").view(2, 5)
    engine, plain = kvgpt.Engine(model, name, 2), kvgpt.Engine(model, name, 2)
    plain.cache.kernel = None
    assert torch.equal(engine.generate(ids, 80), plain.generate(ids, 80))


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
@pytest.mark.parametrize("storage", CODECS)
def test_the_sanitizer_finds_nothing(storage, tool):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("needs compute-sanitizer of the CUDA toolkit on PATH")
    script = (
        f"import torch; from stored import Layer, kernels; from kvgpt.kernels.plan import Meeting;"
        f"layer = Layer({storage!r}, 48, 150, 160, 2, 2, layout='slice', device='cuda');"
        f"meeting = Meeting(torch.device('cuda'), 3);"
        f"kernels({storage!r}, 'cuda').decode(layer.q, layer.k, layer.v, *layer.stored, layer.position, meeting);"
        f"torch.cuda.synchronize()"
    )
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
