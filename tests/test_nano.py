"""The shipped models: what their metadata say is true, and the variants differ as they must."""

import math
import statistics
import time

import pytest
import torch

import kvgpt
from kvgpt import checkpoint, perplexity, text
from kvgpt.config import SHIPPED
from kvgpt.conformance import tolerances

NANO = kvgpt.GPT.from_pretrained("nano")


@pytest.fixture(scope="module")
def held_out():
    return text.embedded().ids("held_out", text.tokenizer(257))


@pytest.fixture(scope="module")
def windows(held_out):
    return perplexity.Windows.cut(held_out, 256, 256, 8192)


@pytest.fixture(scope="module")
def forced(windows):
    return {
        name: perplexity.teacher_forced(kvgpt.Engine(NANO, name, 16), windows)
        for name in ("v1", "v2", "v3", "v3a", "int4", "k8v4")
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_a_nano_of_at_most_8_megabytes_with_its_origin_written_down(name):
    directory = checkpoint.SHIPPED / name
    metadata = checkpoint.read_metadata(directory)
    assert kvgpt.GPT.from_pretrained(name).config == kvgpt.GPTConfig.preset(name)
    assert (directory / "model.safetensors").stat().st_size <= 8_000_000
    assert metadata["command"] == f"kvgpt train {name}"
    assert {"seed", "corpus_sha256", "held_out_loss"} <= set(metadata)


@pytest.mark.parametrize("name", SHIPPED)
def test_its_held_out_loss_is_the_one_it_was_shipped_with(name, held_out):
    model, metadata = kvgpt.GPT.from_pretrained(name), checkpoint.read_metadata(checkpoint.SHIPPED / name)
    if text.embedded().sha256 != metadata["corpus_sha256"]:
        pytest.skip("this Python's documentation topics are not the text that nano was trained on")
    own = "dense" if model.config.sharing is None else f"dense+{model.config.sharing}"
    score = perplexity.teacher_forced(kvgpt.Engine(model, own, 16), perplexity.Windows.cut(held_out, 256, 256))
    assert score.mean == pytest.approx(float(metadata["held_out_loss"]), abs=1e-4)


def test_a_window_on_the_rotary_one_loses_little_far_past_its_context(held_out):
    model, ids = kvgpt.GPT.from_pretrained("nano-rotary"), held_out[None, :2049]
    engine = kvgpt.Engine(model, "dense+window", max_length=256)
    logits = torch.cat([engine.prefill(part, every_position=True) for part in ids[:, :-1].split(200, dim=1)], dim=1)
    losses = torch.nn.functional.cross_entropy(logits[0], ids[0, 1:], reduction="none")
    assert float(losses[256:].mean()) < 1.1 * float(losses[:256].mean()), "the boundary costs a tenth"


def test_autoregressive_equals_teacher_forced_and_the_cache_served_every_token(windows, forced):
    stepped = perplexity.autoregressive(kvgpt.Engine(NANO, "v1", 32), windows)
    assert abs(stepped.mean - forced["v1"].mean) <= tolerances.MEAN_NLL_FLOAT32
    assert stepped.served == windows.scored_tokens


def test_int8_costs_less_than_a_percent(forced):
    change, _ = forced["v2"].change(forced["v1"])
    assert abs(math.expm1(change)) < 0.01


def test_int4_costs_less_than_five_percent_and_most_of_that_is_its_keys(forced):
    of_int4, error = forced["int4"].change(forced["v1"])
    of_values, _ = forced["k8v4"].change(forced["v1"])
    assert math.expm1(of_int4) < 0.05
    assert of_int4 - of_values > 2 * error and of_values < of_int4 / 2


def test_sharing_that_was_never_trained_hurts(forced):
    change, error = forced["v3"].change(forced["v1"])
    assert math.exp(change) >= 1.4
    assert change > 5 * error, "within the noise"


def test_the_change_by_alignment_is_known_better_than_its_size(forced):
    change, error = forced["v3a"].change(forced["v3"])
    assert math.isfinite(change) and 0 < error < 0.05


def test_decoding_on_costs_less_than_a_third_of_recomputing():
    ids, more = (
        torch.randint(256, (1, 200), generator=torch.Generator().manual_seed(0)),
        torch.zeros(1, 1, dtype=torch.int64),
    )
    engines = {name: kvgpt.Engine(NANO, name) for name in ("v0", "v1")}
    seconds = {name: [] for name in engines}
    for order in (("v0", "v1"), ("v1", "v0")) * 3:  # side by side, in turns
        for name in order:
            engines[name].reset()
            engines[name].prefill(ids)
            begun = time.perf_counter()
            for _ in range(32):
                engines[name].decode(more)
            seconds[name].append(time.perf_counter() - begun)
    assert statistics.median(seconds["v1"]) < statistics.median(seconds["v0"]) / 3, seconds
