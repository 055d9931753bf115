"""The sharing family's case: the run's model under every way of sharing, and a model trained with sharing beside it."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from fake_watch import Quiet

import kvgpt
from kvgpt.conformance import strategies
from kvgpt.measure.case import Case
from kvgpt.options import SETTINGS, Settings
from kvgpt.perplexity import Windows, teacher_forced

CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=32, vocab_size=31, block_size=12)
TEXT = strategies.ids(1, 120, 4)[0]


@pytest.fixture(scope="module")
def bench(pytestconfig):
    path = pytestconfig.rootpath / "benchmarks" / "bench_sharing.py"
    spec = importlib.util.spec_from_file_location("bench_sharing_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """The directory of a model that was made with pairs, and fewer numbers than the run's own."""
    directory = tmp_path_factory.mktemp("trained") / "pairs"
    config = kvgpt.GPTConfig(**{**vars(CONFIG), "sharing": "cla2", "n_inner": 80})
    strategies.model(config, 1, torch.float32).save_pretrained(directory)
    return str(directory)


@pytest.fixture(scope="module")
def figures(bench, beside):
    """``figures(subject, variant)``: the record of one case."""
    model, settings = strategies.model(CONFIG, 0, torch.float32), Settings(beside=(beside,))
    windows = Windows.cut(TEXT, 12, 12)

    def engine_on(name, variant, batch_size, max_length):
        of = model if name == settings.model else kvgpt.GPT.from_pretrained(name)
        return kvgpt.Engine(of, variant, batch_size, max_length, calibration=strategies.ids(4, 12, 7))

    reference = teacher_forced(engine_on("nano", "v1", 10, 12), windows)

    def run(subject, variant):
        extra = {}
        case = Case(extra, variant, variant, {"model": settings.model}, Quiet(), floors=None)
        bench.bench_sharing(
            SimpleNamespace(), case, _untimed, engine_on, model, settings, windows, reference, {}, subject, variant
        )
        return extra["kvgpt"]

    return run


def _untimed(body, setup):
    """One step, and no time: what a clock reads is tested elsewhere."""
    setup()
    body()


def test_the_reference_has_no_change_and_no_divergence(figures):
    record = figures("nano", "v1")
    assert record["metrics"]["nll_change"]["value"] == 0.0 and "kl_divergence" not in record["metrics"]
    assert record["workload"]["model"] == record["workload"]["reference"] == "nano"


@pytest.mark.parametrize("variant", ["v3", "v3a", "dense+cla2+calign", "dense+cla4", "dense+cla4+calign"])
def test_a_way_of_sharing_is_paired_with_the_reference(figures, variant):
    usual, record = figures("nano", "v1")["metrics"], figures("nano", variant)["metrics"]
    group = 4 if "cla4" in variant else 2
    assert record["cache_bytes"]["value"] * group == usual["cache_bytes"]["value"]
    assert record["nll_change"]["value"] == pytest.approx(record["nll"]["value"] - usual["nll"]["value"])
    assert record["kl_divergence"]["value"] > 0 and record["top1_agreement"]["value"] < 1


def test_a_model_beside_it_is_named_and_counted_as_what_it_is(figures, beside):
    usual, record = figures("nano", "v1"), figures(beside, "v3")
    assert record["workload"]["model"] == beside and record["workload"]["reference"] == "nano"
    assert record["workload"]["weights"] == "pretrained" and record["workload"]["inner"] == 80
    assert record["metrics"]["weights_bytes"]["value"] < usual["metrics"]["weights_bytes"]["value"]
    assert record["metrics"]["nll_change"]["stderr"] > 0 and record["metrics"]["kl_divergence"]["value"] > 0


def test_cases_are_the_ways_of_the_own_model_and_what_each_other_was_trained_with(bench, beside):
    found = []
    chosen = Settings(beside=(beside, "nano-rotary"))
    stash = {SETTINGS: chosen}
    metafunc = SimpleNamespace(
        config=SimpleNamespace(stash=stash), parametrize=lambda names, pairs, ids: found.extend(pairs)
    )
    bench.pytest_generate_tests(metafunc)
    own = [variant for name, variant in found if name == "nano"]
    assert own == ["v1", "v3", "v3a", "dense+cla2+calign", "dense+cla4", "dense+cla4+qalign", "dense+cla4+calign"]
    assert found[len(own) :] == [(beside, "v3"), (beside, "v4"), ("nano-rotary", "v1"), ("nano-rotary", "v2")]


def test_no_other_sharing_is_put_on_a_model_that_was_trained_with_one(bench):
    shared = kvgpt.GPT(kvgpt.GPTConfig(**{**vars(CONFIG), "sharing": "cla2"}))

    def why(variant, subject="nano"):
        return bench.left_out(_item(subject, variant), Settings(), shared)

    assert why("v3") is None and why("v1", subject="other") is None
    assert why("v1") == why("dense+cla4") == "nano was trained with sharing cla2: no other can be put on it"


def test_a_run_that_asks_for_variants_has_those_alone_unless_it_names_models(bench):
    plain, chosen = kvgpt.GPT(CONFIG), Settings(variants=("v1", "v3"))
    assert bench.left_out(_item("nano", "v3", variants="v1,v3"), chosen, plain) is None
    assert (
        bench.left_out(_item("nano", "v3a", variants="v1,v3"), chosen, plain)
        == "other variants were asked for than v3a"
    )
    assert bench.left_out(_item("nano", "v3a", variants="v1,v3", beside="nano-cla2"), chosen, plain) is None


def _item(subject, variant, **options):
    """A case, in a run with these options."""
    return SimpleNamespace(
        callspec=SimpleNamespace(params={"subject": subject, "variant": variant}),
        config=SimpleNamespace(getoption=lambda name: options.get(name.removeprefix("--kvgpt-"))),
    )
