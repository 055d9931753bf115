"""On trained weights: at once, in chunks and one token a step are one answer, and the oracle's with a cache's loss."""

import pytest
import torch
import torch.nn.functional as F

import kvgpt
from kvgpt import text
from kvgpt.conformance import oracle, tolerances

MODEL = kvgpt.GPT.from_pretrained("nano").double()


@pytest.fixture(scope="module")
def ids():
    return text.embedded().ids("held_out", text.tokenizer(257))[:193][None]  # (1, 193)


def losses(engine, ids, chunk):
    """The loss of each token after the first, the context fed ``chunk`` tokens a step: (192,)."""
    engine.reset()
    logits = [engine.prefill(part, every_position=True) for part in ids[:, :-1].split(chunk, dim=1)]
    return F.cross_entropy(torch.cat(logits, dim=1)[0], ids[0, 1:], reduction="none")


def answer(engine, ids, group, lossy):
    """The same from the oracle, which puts K and V through the cache's own map and keeps no cache."""
    lossy_map = engine.cache.round_trip if lossy else None
    logits = oracle.logits(engine.model.state_dict(), ids[:, :-1], engine.model.config.n_head, group, None, lossy_map)
    return F.cross_entropy(logits[0], ids[0, 1:], reduction="none")


@pytest.mark.parametrize(
    ("variant", "group"), [("v0", 1), ("v1", 1), ("v2", 1), ("int4", 1), ("v3", 2), ("v3a", 2), ("v4", 2), ("v4a", 2)]
)
def test_however_a_text_is_fed_its_losses_are_those_of_the_oracle(ids, variant, group):
    engine = kvgpt.Engine(MODEL, variant, calibration=ids[:, :64].repeat(2, 1))
    lossy = engine.cache.lossy
    expected = answer(engine, ids, group, lossy)
    for chunk in (192, 50, 1):
        found = losses(engine, ids, chunk)
        assert float((found - expected).abs().max()) < tolerances.SEMANTICS, f"fed {chunk} at a time"
    plain = answer(engine, ids, group, lossy=False)
    assert (float((plain - expected).abs().max()) > 1e-4) == lossy, "the map made no difference"
