"""On a GPU: the same logits as the oracle's, for every variant."""

import pytest
import torch

import kvgpt
from kvgpt.conformance import oracle, strategies, tolerances

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(
    "variant", [name for name in kvgpt.variants() if "int8" not in kvgpt.Variant.parse(name).canonical]
)
def test_every_exact_variant_gives_the_oracles_logits_on_cuda(variant):
    config = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=32, vocab_size=31, block_size=24)
    plain, ids = strategies.model(config, 0).to("cuda"), strategies.ids(2, 20, 0)
    engine = kvgpt.Engine(plain, variant, 2, calibration=ids)
    out = torch.cat(
        [
            engine.prefill(ids[:, :9], every_position=True),
            engine.prefill(ids[:, 9:19], every_position=True),
            engine.decode(ids[:, 19:])[:, None],
        ],
        dim=1,
    )
    parsed = kvgpt.Variant.parse(variant)
    truth = oracle.logits(engine.model.state_dict(), ids, 2, 2 if parsed.sharing else 1)
    assert tolerances.exact(out.cpu(), truth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", ["int8", "int8-unfused"])
def test_a_lossy_cache_attends_to_what_it_reads_back_on_cuda(variant, dtype):
    from kvgpt.attention import PATHS

    generator = torch.Generator().manual_seed(0)
    shape = kvgpt.KVShape(1, 2, 2, 64, 40, dtype, torch.device("cuda"))
    cache = kvgpt.Engine(strategies.model(kvgpt.GPTConfig(2, 1, 2, 7, 8), 0), variant).recipe.cache(shape)
    for n in (30, 1, 1, 8):
        q, k, v = torch.randn(3, 2, 2, n, 64, generator=generator).to("cuda", dtype)
        out, read = cache.attend(0, q, k, v), cache.read(0)
        truth = oracle.attention(q.cpu(), *(part.cpu() for part in read))
        plain = [attention(q, *read).cpu() for attention in PATHS.values()]
        assert all(tolerances.by_ratio(out.cpu(), plain, truth))
        cache.advance(n)


def test_generate_on_cuda_is_generate_on_the_cpu():
    config = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=32, vocab_size=31, block_size=24)
    model, ids = strategies.model(config, 0), strategies.ids(3, 5, 0)
    here = kvgpt.Engine(model, "v1", 3).generate(ids, 12, temperature=0.8, top_k=7, seed=3)
    there = kvgpt.Engine(model.to("cuda"), "v1", 3).generate(ids, 12, temperature=0.8, top_k=7, seed=3)
    assert torch.equal(here, there.cpu())
