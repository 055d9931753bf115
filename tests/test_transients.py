"""How many sequences fit, from shapes alone: held to what the allocator hands out while the loads run."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt import transients
from kvgpt.conformance import strategies
from kvgpt.measure import loads
from kvgpt.measure.attempt import HostMemory, attempt, quick_collections
from kvgpt.measure.capacity import search
from kvgpt.measure.memory import allocation
from kvgpt.storages import distinct_bytes, tensors_of

CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=32, vocab_size=61, block_size=96)
VARIANTS = ("v0", "v1", "v2", "v3", "v4")


@pytest.fixture(autouse=True, scope="module")
def _quick_collections():
    with quick_collections():
        yield


def engines(variant, config=CONFIG, context=96):
    """The function that builds an engine of a batch, and the model that it runs."""
    first = kvgpt.Engine(strategies.model(config, 0, torch.float32), variant, 1, context)
    return lambda batch: kvgpt.Engine(first.model, variant, batch, context), first.model


def needed(variant, config=CONFIG, context=96):
    recipe = kvgpt.Variant.parse(variant)
    return transients.serving(config, recipe, "float32", context, transients.last_chunk(context))


@pytest.mark.parametrize("variant", VARIANTS)
def test_as_many_sequences_fit_as_were_predicted_and_no_more(variant):
    build, model = engines(variant)
    need = needed(variant)
    memory = HostMemory(need.room(6))
    load = loads.serving(build, 96)
    found = search(lambda batch: attempt(load, batch, memory, model.nbytes), 6, times=1)
    assert found.max_batch == found.interval[1] == pytest.approx(need.predicted(memory.budget), rel=0.1)
    bound = need.bound(memory.budget)
    assert bound is None if variant == "v0" else found.max_batch <= bound

    def directly(batch):
        return model.nbytes + allocation(lambda: list(load(batch)), "cpu").peak

    assert directly(found.max_batch) <= memory.budget < directly(found.max_batch + 1)
    assert found.peak == directly(found.max_batch)


@pytest.fixture
def scratch_is_of_one_sequence(monkeypatch):
    """What a kernel of attention needs for itself is left out of closed forms, and is not a GPU's: a CPU with tiles for
    16 bits packs keys and values of the whole batch.
    """
    whole = F.scaled_dot_product_attention

    def one_by_one(q, k, v, **options):
        out = q.new_empty(q.transpose(1, 2).shape).transpose(1, 2)  # as the kernel lays it out
        for parts in zip(out.split(1), q.split(1), k.split(1), v.split(1), strict=True):
            parts[0].copy_(whole(*parts[1:], **options))
        return out

    monkeypatch.setattr(F, "scaled_dot_product_attention", one_by_one)


NARROW = (*VARIANTS, "int4", "k8v4", "dense+window", "int8+window", "int8+cla2+window")
# A CPU multiplies 16 bits through a copy of what lies apart: scratch of a kernel, as a GPU has none.
WIDE = (*NARROW, "dense+matmul")


@pytest.mark.parametrize(
    ("dtype", "variant"), [*(("float32", name) for name in WIDE), *(("bfloat16", name) for name in NARROW)]
)
@pytest.mark.usefixtures("scratch_is_of_one_sequence")
def test_a_sequence_needs_at_its_worst_what_its_closed_form_says(variant, dtype):
    config = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=64, vocab_size=31, block_size=256)
    first = kvgpt.Engine(strategies.model(config, 0, getattr(torch, dtype)), variant, 1)
    load = loads.serving(lambda batch: kvgpt.Engine(first.model, variant, batch), 256)
    few, many = (attempt(load, batch, HostMemory(10**9), 0).peak for batch in (6, 12))  # scratch is little
    need = transients.serving(config, kvgpt.Variant.parse(variant), dtype, 256, transients.last_chunk(256))
    assert (many - few) / 6 == pytest.approx(need.peak, rel=0.02)


def test_ratios_are_those_of_the_closed_form():
    context, budget, found = 32, 8_000_000, {}
    for variant in ("v1", "v4"):
        build, model = engines(variant, context=context)
        load, memory = loads.serving(build, context), HostMemory(budget)
        need = needed(variant, context=context)
        fits = [attempt(load, need.predicted(budget) + off, memory, model.nbytes).fitted for off in (-1, 0, 1)]
        assert fits[0] and not fits[2], f"{variant}: {fits} around {need.predicted(budget)}"
        found[variant] = need.predicted(budget) - 1 + fits.count(True) - 1, need.peak
    (dense, of_dense), (codes, of_codes) = found["v1"], found["v4"]
    assert dense > 100 and codes == pytest.approx(dense * of_dense / of_codes, abs=2)


def test_a_variant_without_a_cache_holds_none_and_feeds_all_at_once():
    build, _ = engines("v0")
    stages = [*loads.serving(build, 96)(3)]
    cache = stages[-1].cache
    assert stages[-1].length == 96 and len(stages) == 2
    assert cache.nbytes == 0 == distinct_bytes(tensors_of(cache)) - cache.position.nbytes
    assert needed("v0").held == 0


@pytest.mark.parametrize("variant", ["v1", "v4", "dense-cat", "int8+window"])
@pytest.mark.parametrize("context", [1, 2, 65, 96])
def test_a_served_sequence_ends_at_exactly_the_context(variant, context):
    build, _ = engines(variant, context=context)
    *_, engine = loads.serving(build, context)(2)
    assert engine.length == context == engine.max_length
    loads.before_last_step(engine, context)
    assert loads.last_step(engine, context).shape == (2, 61) and engine.length == context


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_not_copied_to_another_dtype(dtype):
    config = kvgpt.GPTConfig(n_layer=1, n_head=1, n_embd=8, vocab_size=40_000, block_size=8)
    model = strategies.model(config, 0, getattr(torch, dtype)).prepare(rows=10)
    need = transients.serving(config, kvgpt.Variant.parse("v1"), dtype, 8, 7)
    made = [
        attempt(loads.serving(lambda n: kvgpt.Engine(model, "v1", n), 8), n, HostMemory(10**9), 0) for n in (10, 30)
    ]
    assert (made[1].peak - made[0].peak) / 20 == pytest.approx(need.peak, rel=0.01), "a copy would be 98% more"


@given(config=strategies.configs(), sharing=st.sampled_from([None, "cla2"]))
def test_a_closed_form_needs_more_at_its_worst_than_it_holds(config, sharing):
    variant = kvgpt.Variant.parse("int8" if sharing is None else f"int8+{sharing}")
    length = config.block_size
    for need in (
        transients.serving(config, variant, "bfloat16", length, transients.last_chunk(length)),
        transients.training(config, "bfloat16", length),
    ):
        budget = need.room(5)
        assert 0 < need.held <= need.peak and 5 <= need.predicted(budget) <= need.bound(budget)
        assert need.predicted(need.fixed) == 0 == need.bound(need.fixed - 1)


@pytest.mark.parametrize("embedding", ["learned", "rotary"])
@pytest.mark.parametrize(("sharing", "inner"), [(None, None), ("cla2", None), ("cla2", 320)])
def test_a_training_step_needs_what_its_closed_form_says(embedding, sharing, inner):
    sizes = {"n_layer": 2, "n_head": 4, "n_kv_head": 1, "n_embd": 64, "vocab_size": 128, "block_size": 32}
    config = kvgpt.GPTConfig(**sizes, position_embedding=embedding, sharing=sharing, n_inner=inner)
    model = strategies.model(config, 0, torch.float32)
    need, load = transients.training(config, "float32", 32), loads.training(model, 32)
    few, many = (attempt(load, batch, HostMemory(10**9), 0).peak for batch in (8, 16))
    assert (many - few) / 8 == pytest.approx(need.peak, rel=0.01)
    assert many - 2 * (many - few) == pytest.approx(need.fixed, rel=0.1)


def test_a_training_step_ends_with_all_gradients_and_the_embeddings_twice_more():
    config = kvgpt.GPTConfig(n_layer=1, n_head=1, n_embd=16, vocab_size=5000, block_size=8)
    load = loads.training(strategies.model(config, 0, torch.float32), 1)
    need = transients.training(config, "float32", 1)
    assert attempt(load, 1, HostMemory(10**9), 0).peak == pytest.approx(need.least, rel=0.01)
    assert need.predicted(need.least - 1) == 0 < need.predicted(need.least)


def test_training_leaves_the_model_as_it_was():
    model = strategies.model(CONFIG, 0, torch.float32)
    before = model.fingerprint
    copy = loads.Training(model)
    ids = copy.tokens(2, 16)
    assert ids.shape == (2, 17)
    copy.step(ids)
    assert model.fingerprint == before != copy.model.fingerprint
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())
