"""Steps: prompts in chunks say what whole ones say, and each device has its way of running them."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right

import kvgpt
from kvgpt import attention
from kvgpt.conformance import strategies, tolerances
from kvgpt.fastest import fastest
from kvgpt.policies import Policy
from kvgpt.steps import Chunked, Steps

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=31, block_size=24)
PLAIN = strategies.model(CONFIG, seed=1)


class Few(Chunked):
    """So few tokens that every prompt is cut."""

    most_tokens = 6


@pytest.mark.parametrize("variant", kvgpt.variants())
@pytest.mark.parametrize("every_position", [True, False])
def test_a_prompt_in_chunks_is_a_whole_one(variant, every_position):
    fed, ids = [], strategies.ids(2, 11, 0)
    options = {"batch_size": 2, "calibration": strategies.ids(2, 12, 5)}

    def counting(model, policy):
        def forward(ids, *rest):
            fed.append(ids.size(1))
            return model(ids, *rest)

        return Few(forward, policy)

    cut, whole = kvgpt.Engine(PLAIN, variant, steps=counting, **options), kvgpt.Engine(PLAIN, variant, **options)
    assert tolerances.exact(cut.prefill(ids, every_position), whole.prefill(ids, every_position))
    assert fed == ([11] if cut.cache.stateless else [3, 3, 3, 2])
    assert cut.cache.length == 11


def test_a_chunk_holds_a_token_a_row_at_least():
    one = kvgpt.Engine(PLAIN, "v1", 8, steps=Few)
    ids = strategies.ids(8, 3, 0)
    assert tolerances.exact(one.prefill(ids, every_position=True), PLAIN(ids))


def test_a_cpu_is_served_by_the_model_as_it_is():
    made = fastest(PLAIN, Policy())
    assert type(made) is Steps and made.forward is PLAIN and made.together == 1


@pytest.mark.parametrize(("T", "S"), [(2, 3), (3, 7), (5, 6)])
def test_the_mask_that_goes_by_its_name_is_the_one_written_out(T, S):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, n, 8, generator=generator, dtype=torch.float64) for n in (T, S, S))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=causal_lower_right(T, S))
    assert tolerances.exact(out, attention.matmul(q, k, v))
    assert attention.lower_right(T, S, q.device).dtype == torch.bool
