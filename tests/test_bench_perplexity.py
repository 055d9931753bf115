"""The perplexity family's case: what it says of each variant beside perplexity, and what it leaves out."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from fake_watch import Quiet

import kvgpt
from kvgpt.agreement import agreement
from kvgpt.conformance import strategies
from kvgpt.measure.case import Case
from kvgpt.options import Settings
from kvgpt.perplexity import Windows, at_once

CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=32, vocab_size=31, block_size=12)
TEXT = strategies.ids(1, 120, 4)[0]


@pytest.fixture(scope="module")
def figures(pytestconfig):
    """``figures(mode, variant)``: the metrics and the details of one case."""
    path = pytestconfig.rootpath / "benchmarks" / "bench_perplexity.py"
    spec = importlib.util.spec_from_file_location("bench_perplexity_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, scores = strategies.model(CONFIG, 0, torch.float32), {}

    def run(mode, variant):
        extra, benchmark = {}, SimpleNamespace(pedantic=lambda run, args, rounds: run(*args))
        case = Case(extra, variant, variant, {}, Quiet(), floors=None)
        module.bench_perplexity(
            benchmark,
            case,
            lambda name, rows, room: kvgpt.Engine(model, name, rows, room),
            model,
            TEXT,
            {"corpus": "random"},
            Settings(),
            scores,
            {},
            mode,
            variant,
        )
        return extra["kvgpt"]["metrics"], extra["kvgpt"].get("details", {})

    return run


@pytest.mark.parametrize("mode", ["teacher_forced", "autoregressive"])
def test_the_reference_has_no_divergence_from_itself(figures, mode):
    metrics, details = figures(mode, "v1")
    assert "kl_divergence" not in metrics and "top1_agreement" not in metrics and "compared_tokens" not in details
    assert metrics["nll_change"]["value"] == 0.0


@pytest.mark.parametrize("mode", ["teacher_forced", "autoregressive"])
def test_sharing_diverges_more_than_rounding_to_8_bits_and_that_more_than_recomputing(figures, mode):
    found = {name: figures(mode, name) for name in ("v0", "v2", "v3")}
    far = {name: metrics["kl_divergence"]["value"] for name, (metrics, _) in found.items()}
    same = {name: metrics["top1_agreement"]["value"] for name, (metrics, _) in found.items()}
    assert abs(far["v0"]) < 1e-8 < far["v2"] < 1e-2 < far["v3"] and same["v3"] < same["v2"] <= same["v0"] == 1.0
    for metrics, details in found.values():
        assert details["compared_tokens"] == 2 * 11, "two of ten windows"
        assert metrics["kl_divergence"]["stderr"] >= 0 and len(metrics["top1_agreement"]["interval"]) == 2


def test_the_divergence_is_of_the_variant_from_the_reference(figures):
    model, windows = strategies.model(CONFIG, 0, torch.float32), Windows.cut(TEXT, 12, 12).every(5)
    there = agreement(*(kvgpt.Engine(model, name, 2) for name in ("v3", "v1")), windows, at_once).kl_divergence
    back = agreement(*(kvgpt.Engine(model, name, 2) for name in ("v1", "v3")), windows, at_once).kl_divergence
    found = figures("teacher_forced", "v3")[0]["kl_divergence"]["value"]
    assert found == pytest.approx(there, rel=1e-5) and found != pytest.approx(back, rel=1e-2)


def test_stored_vectors_are_read_back_where_they_come_one_a_step_and_stay(figures):
    assert "kv_error" not in figures("teacher_forced", "v2")[0]
    for variant, error in (("v1", 0.0), ("v2", pytest.approx(0.005, rel=0.5))):
        metrics, details = figures("autoregressive", variant)
        assert metrics["kv_error"]["value"] == error and abs(metrics["kv_error_drift"]["value"]) <= 0.5 * 0.005
        assert details["stored_tokens"] == 2 * 12
    for variant in ("v0", "dense+window"):
        metrics, details = figures("autoregressive", variant)
        assert "kv_error" not in metrics and "kv_error_drift" not in metrics and "stored_tokens" not in details
