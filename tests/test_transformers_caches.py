"""Caches of transformers' kind, theirs and anybody's own, are held to the same promises through an adapter."""

import subprocess
import sys

import pytest
import torch

import kvgpt
from kvgpt import registry
from kvgpt.caches.transformers import TransformersCache, adapt
from kvgpt.conformance import DTYPES, Op, Scene, Subject, again, asked_of, check_cache
from kvgpt.storages import distinct_bytes, tensors_of

transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'kvgpt[peers]'")

KEPT = ("transformers:DynamicCache", "transformers:StaticCache", "kvgpt.caches.transformers:SlidingStatic")
KNOWN = {  # what does not hold in transformers 5.23: docs/transformers-caches.md has each without the adapter
    "a DynamicCache that was cropped to nothing keeps its number of rows": (
        ("I1-life", "transformers:DynamicCache", "float64"),
        {"program": (Op("feed", n=1), Op("crop", n=0), Op("select", rows=(0, 0)), Op("feed", n=1))},
        "Sizes of tensors must match",
    ),
    "sliding layers with a window of 1 let go of nothing": (
        ("A1-chunks", "kvgpt.caches.transformers:SlidingDynamic", "float64"),
        {"scene": Scene(room=1, head_dim=8), "sizes": (1, 1, 1)},
        "largest difference from the oracle",
    ),
    "a quantised cache is not cropped": (
        ("A10-poison", "kvgpt.caches.transformers:Fp8", "float64"),
        {"sizes": (1,), "kept": 0, "n": 1},
        "too many indices for tensor of dimension 1",
    ),
    "a quantised cache selects no rows": (
        ("A17-honesty", "kvgpt.caches.transformers:Fp8", "float64"),
        {"n": 1},
        "index is out of bounds for dimension with size 0",
    ),
    "a quantised cache attends to what it was given first, not to what it stored": (
        ("T1-attention", "kvgpt.caches.transformers:Fp8", "float64"),
        {"sizes": (1,)},
        "largest difference from the oracle",
    ),
}
SHAPE = kvgpt.KVShape(2, 1, 2, 4, 6, torch.float32, torch.device("cpu"))


class Own:
    """Somebody's cache: two methods. Its first update hands back what it was given."""

    def __init__(self):
        self.kept = {}

    def update(self, key_states, value_states, layer_idx, cache_kwargs=None):
        if layer_idx not in self.kept:
            self.kept[layer_idx] = key_states.clone(), value_states.clone()
            return key_states, value_states
        pairs = zip(self.kept[layer_idx], (key_states, value_states), strict=True)
        self.kept[layer_idx] = tuple(torch.cat(pair, dim=2) for pair in pairs)
        return self.kept[layer_idx]

    def get_seq_length(self, layer_idx=0):
        return self.kept[layer_idx][0].size(2) if layer_idx in self.kept else 0


class Roomy(Own):
    """Somebody's cache that asks for what transformers' own ask for, and can be reset."""

    def __init__(self, config, max_cache_len, **options):
        super().__init__()
        self.sizes = config.num_hidden_layers, config.num_key_value_heads, config.head_dim, max_cache_len, options

    def reset(self):
        self.kept.clear()


class Odd(Own):
    def __init__(self, rank):
        super().__init__()


def step(cache, n=1):
    shape = cache.shape
    for layer in range(shape.n_layer):
        cache.attend(layer, *torch.randn(3, shape.batch_size, shape.n_head, n, shape.head_dim).to(shape.dtype).unbind())
    cache.advance(n)


def cache_of(spec, shape=SHAPE):
    return Subject(spec).cache_of(shape)


@pytest.mark.parametrize(
    ("promise", "subject"),
    [
        pytest.param(promise, Subject(spec, dtype), id=f"{spec.split(':')[1]}-{dtype}-{promise.name}")
        for spec in KEPT
        for dtype in DTYPES
        for promise in asked_of(Subject(spec, dtype))[0]
        if (promise.name, spec) not in [known[0][:2] for known in KNOWN.values()]
    ],
)
def test_their_caches_keep_their_promises(promise, subject):
    promise(subject, 4)


@pytest.mark.parametrize("known", KNOWN)
def test_what_is_known_to_be_broken_upstream_still_is(known):
    asked, inputs, happened = KNOWN[known]
    with pytest.raises((AssertionError, RuntimeError, IndexError), match=happened):  # none? the docs need a word
        again(*asked, **({"scene": Scene()} | inputs))


def test_known_upstream_fp8_clips_what_is_larger_than_the_first_update():
    cache = cache_of("kvgpt.caches.transformers:Fp8")
    for size in (1.0, 100.0):
        vector = torch.full((1, 2, 1, 4), size)
        cache.attend(0, vector, vector, vector)
        cache.attend(1, vector, vector, vector)
        cache.advance(1)
    assert cache.read(0)[0][0, 0, :, 0].tolist() == [1.0, 1.0], "no longer: say so in docs/transformers-caches.md"


@pytest.mark.parametrize(
    ("spec", "operations"),
    [
        ("transformers:DynamicCache", ["reset", "crop", "select", "fork"]),
        ("transformers:StaticCache", ["reset", "select", "fork"]),
        ("kvgpt.caches.transformers:SlidingDynamic", ["reset", "select", "fork"]),
        ("kvgpt.caches.transformers:SlidingStatic", ["reset", "select", "fork"]),
        ("kvgpt.caches.transformers:Fp8", ["reset", "crop", "select", "fork"]),
        ("kvgpt.caches.transformers:Quanto4", ["reset", "crop", "select"]),
        ("kvgpt.caches.transformers:Hqq4", ["reset", "crop", "select", "fork"]),
        (f"{__name__}:Own", ["fork"]),
        (f"{__name__}:Roomy", ["reset", "fork"]),
    ],
)
def test_what_a_class_has_no_method_for_is_not_offered(spec, operations):
    cls = registry.load(spec)
    assert [name for name in ("reset", "crop", "select", "fork", "state") if cls.offers(name)] == operations


@pytest.mark.parametrize("spec", ["transformers:StaticCache", f"{__name__}:Own"])
def test_what_is_not_offered_is_unsupported_and_changes_nothing(spec):
    cache = cache_of(spec)
    step(cache, 3)
    before = [part.clone() for part in cache.read(0)]
    for attempt in (lambda: cache.crop(1), cache.state):
        with pytest.raises(kvgpt.Unsupported):
            attempt()
    assert cache.length == 3 and all(map(torch.equal, before, cache.read(0)))


@pytest.mark.parametrize("own", [Own, Roomy])
def test_a_cache_of_ones_own_keeps_every_promise(own):
    report = check_cache(own, examples=3)
    names = {promise.name for promise, _ in report.kept}
    assert {"A1-chunks", "A6-fork", "A15-ownership", "C5-followers-only-read", "D1-bytes-held", "I1-life"} <= names


def test_a_constructor_is_given_what_it_requires():
    assert cache_of(Roomy).theirs.sizes == (2, 2, 4, 6, {})


def test_their_caches_decode_like_ours():
    model = kvgpt.GPT(kvgpt.GPTConfig(3, 2, 16, 31, 24), seed=1)
    ids = torch.randint(31, (2, 5), generator=torch.Generator().manual_seed(0))
    ours = kvgpt.Engine(model, "v1", batch_size=2).generate(ids, max_new_tokens=8)
    for variant in (transformers.DynamicCache, transformers.StaticCache, Own):
        assert torch.equal(kvgpt.Engine(model, variant, batch_size=2).generate(ids, max_new_tokens=8), ours)


def test_a_class_has_one_adapter_and_the_name_that_it_was_given():
    assert adapt(transformers.DynamicCache) is registry.load("transformers:DynamicCache")
    assert Subject("transformers:DynamicCache").name == "transformers:DynamicCache"
    assert Subject(transformers.DynamicCache).name == "transformers.cache_utils:DynamicCache"
    assert registry.resolve(Own).name == f"{__name__}:Own"
    assert issubclass(registry.resolve(Own).cache_class, TransformersCache)


@pytest.mark.parametrize(
    ("found", "way_out"),
    [
        (dict, "no subclass of kvgpt.KVCache, and no transformers-style cache: a class with update"),
        (Own(), "no transformers-style cache: a class with update"),
        (Odd, "cannot be built without rank: name a subclass of kvgpt.caches.transformers.TransformersCache"),
        (transformers.QuantizedCache, r"cannot be built without backend: .* such as Quanto4 there"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_with_the_way_out(found, way_out):
    with pytest.raises(ValueError, match=way_out):
        registry.cache_class(found, "it")


def test_bytes_are_those_of_the_cache_within():
    dynamic, static = cache_of("transformers:DynamicCache"), cache_of("transformers:StaticCache")
    vectors = 2 * 2 * 2 * 4 * 4  # K and V, layers, heads, numbers of four bytes
    assert dynamic.nbytes == 0
    counters = static.nbytes - 6 * vectors
    assert counters == 2 * 8, "a static cache has its room from the start, and counts in a tensor a layer"
    step(dynamic, 3)
    step(static, 3)
    assert dynamic.nbytes == 3 * vectors and static.nbytes == 6 * vectors + counters


def test_a_tensor_made_of_others_counts_as_those():
    from torch.testing._internal.two_tensor import TwoTensor

    parts = torch.zeros(3), torch.zeros(3)
    assert distinct_bytes(tensors_of({"both": TwoTensor(*parts), "one": parts[0]})) == 24


def test_an_empty_static_cache_takes_another_number_of_rows():
    cache = cache_of("transformers:StaticCache")
    cache.select([0, 0, 0])
    step(cache)
    assert cache.read(1)[0].shape == (3, 2, 1, 4)


def test_a_step_that_was_left_half_done_is_not_cropped_but_reset():
    cache = cache_of("transformers:DynamicCache")
    step(cache, 2)
    cache.attend(0, *torch.randn(3, 1, 2, 1, 4).unbind())
    with pytest.raises(ValueError, match=r"\[2, 3\] tokens in the layers; reset\(\) instead"):
        cache.crop(1)
    cache.reset()
    step(cache, 2)
    assert cache.read(0)[0].size(2) == cache.theirs.get_seq_length() == 2


def test_a_subclass_without_build_says_what_is_missing():
    class Empty(TransformersCache):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty does not say how its cache is built: define build\(shape\)"):
        Empty(SHAPE)


def test_transformers_is_not_imported_before_it_is_used():
    code = "import sys, kvgpt.registry, kvgpt.engine; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
