"""Every variant computes what its oracle says, however a prompt is cut."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt.attention import PATHS
from kvgpt.config import sharing_group
from kvgpt.conformance import oracle, strategies, tolerances
from kvgpt.conformance.scene import LONGEST

VARIANTS = [*kvgpt.variants(), "none+cla3", "dense+cla4", "int8+cla3+matmul", "none+cla2+qalign", "dense-cat+cla2"]
EXACT = [name for name in VARIANTS if "int8" not in kvgpt.Variant.parse(name).storage]
LOSSY = [name for name in VARIANTS if name not in EXACT]


def feed(engine, ids, sizes):
    """Logits of every position, the prompt fed in chunks of these sizes, single tokens by decode."""
    out = []
    for chunk in ids.split(sizes, dim=1):
        if chunk.size(1) == 1:
            out.append(engine.decode(chunk).unsqueeze(1))
        else:
            out.append(engine.prefill(chunk, every_position=True))
    return torch.cat(out, dim=1)


def right_answer(plain, engine, ids):
    """The oracle's logits: from the unshared checkpoint's weights, unless an alignment changed them."""
    variant = engine.recipe.variant
    state = engine.model.state_dict() if variant.align else plain.state_dict()
    lossy = engine.cache.round_trip if engine.cache.lossy else None
    group = sharing_group(variant.sharing)
    return oracle.logits(state, ids, plain.config.n_head, group, plain.config.n_kv_head, lossy)


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.data())
def test_every_cut_of_a_prompt_gives_the_oracles_logits(variant, data):
    config = data.draw(strategies.configs(), label="config")
    batch, length = data.draw(strategies.batches, label="batch"), data.draw(strategies.lengths, label="length")
    seed, sizes = data.draw(strategies.seeds, label="seed"), data.draw(strategies.cuts(length), label="sizes")
    plain = strategies.model(config, seed)
    ids = strategies.ids(batch, length, seed)
    engine = kvgpt.Engine(plain, variant, batch, max_length=length, calibration=strategies.ids(2, 12, seed))
    verdict = tolerances.exact(feed(engine, ids, sizes), right_answer(plain, engine, ids))
    assert verdict, f"{variant} fed as {sizes}: {verdict}"
    assert engine.cache.length == length, "the cache counts another number of tokens than it was fed"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", EXACT)
@given(data=st.data())
def test_an_exact_cache_rounds_no_worse_than_plain_torch(variant, dtype, data):
    length = data.draw(st.integers(2, LONGEST), label="length")
    seed, sizes = data.draw(strategies.seeds, label="seed"), data.draw(strategies.cuts(length), label="sizes")
    plain = strategies.model(data.draw(strategies.wide_configs(), label="config"), seed, dtype)
    ids = strategies.ids(2, length, seed)
    engine = kvgpt.Engine(plain, variant, 2, calibration=strategies.ids(2, 12, seed))
    truth = right_answer(plain, engine, ids)
    recomputed = replace(engine.recipe.variant, storage="none")
    orders = [
        kvgpt.Engine(engine.model, replace(recomputed, attention=path), 2).prefill(ids, every_position=True)
        for path in PATHS
    ]
    for verdict in tolerances.by_ratio(feed(engine, ids, sizes), orders, truth):
        assert verdict, f"{variant} in {dtype} fed as {sizes}: {verdict}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", LOSSY)
@given(data=st.data())
def test_a_lossy_cache_attends_to_what_it_reads_back(variant, dtype, data):
    batch, heads, groups, size = 2, 2, data.draw(st.sampled_from([1, 3])), data.draw(st.sampled_from([5, 16, 64]))
    length, seed = data.draw(st.integers(2, 20), label="length"), data.draw(strategies.seeds, label="seed")
    shape = kvgpt.KVShape(1, batch, heads, size, length, dtype, torch.device("cpu"))
    cache = kvgpt.Engine(strategies.model(kvgpt.GPTConfig(4, 1, 2, 7, 8), 0), variant).recipe.cache(shape)
    generator = torch.Generator().manual_seed(seed)
    for n in data.draw(strategies.cuts(length), label="sizes"):
        k, v = torch.randn(2, batch, heads, n, size, generator=generator).to(dtype)
        q = torch.randn(batch, heads * groups, n, size, generator=generator).to(dtype)
        out = cache.attend(0, q, k, v)
        read = cache.read(0)
        plain = [attention(q, *read) for attention in PATHS.values()]
        for verdict in tolerances.by_ratio(out, plain, oracle.attention(q, *read)):
            assert verdict, f"{variant} in {dtype}, {n} tokens after {cache.length}: {verdict}"
        cache.advance(n)


@given(data=st.data())
def test_the_uncached_model_with_sharing_gives_the_same_logits(data):
    config, seed = data.draw(strategies.configs(), label="config"), data.draw(strategies.seeds, label="seed")
    sharing = data.draw(st.sampled_from(["cla2", "cla3"]), label="sharing")
    plain, ids = strategies.model(config, seed), strategies.ids(2, 9, seed)
    cached = kvgpt.Engine(plain, f"dense+{sharing}", 2).prefill(ids, every_position=True)
    uncached = plain.share(sharing)(ids)
    truth = oracle.logits(plain.state_dict(), ids, config.n_head, sharing_group(sharing), config.n_kv_head)
    assert tolerances.exact(uncached, truth), "the uncached model with sharing is not the oracle"
    assert tolerances.exact(cached, uncached), "the cache changes what the model with sharing computes"
