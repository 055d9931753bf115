"""The options: a grid, what overrides it, and usage errors that list what is known."""

import json
import math

import pytest

from kvgpt.options import SETTINGS, read_grid

pytest_plugins = ["pytester"]


def chosen(pytester, *arguments):
    return pytester.parseconfigure("-p", "kvgpt.options", *arguments).stash[SETTINGS]


def test_the_default_is_nano_on_a_cpu_with_the_seven_variants(pytester):
    settings = chosen(pytester)
    assert (settings.model, settings.weights, settings.device, settings.dtype) == ("nano", "shipped", "cpu", "float32")
    assert settings.variants == ("v0", "v1", "v2", "v3", "v4", "v3a", "v4a")


def test_the_seed_grid_is_the_originals():
    settings = read_grid("seed")
    assert len(settings.lengths) == 16 and settings.lengths[-1] == 1024
    assert (settings.warmup, settings.rounds, settings.autoregressive_tokens, settings.batch_sizes) == (
        5,
        10,
        4096,
        (1,),
    )


def test_options_override_the_grid(pytester):
    settings = chosen(
        pytester,
        "--kvgpt-grid=seed",
        "--kvgpt-model=gpt2",
        "--kvgpt-weights=random",
        "--kvgpt-variants=cla2+int8,v1,dense",
        "--kvgpt-lengths=16,8",
        "--kvgpt-batch-sizes=2",
        "--kvgpt-max-tokens=99",
        "--kvgpt-rounds=3",
        "--kvgpt-dtype=bfloat16",
    )
    assert settings.variants == ("v4", "v1"), "canonical names and repeats become one name each"
    assert (settings.lengths, settings.batch_sizes, settings.max_tokens, settings.rounds) == ((16, 8), (2,), 99, 3)
    assert (settings.model, settings.weights, settings.dtype, settings.warmup) == ("gpt2", "random:0", "bfloat16", 5)


def test_a_cache_of_ones_own_takes_the_place_of_the_variants_unless_they_are_named(pytester):
    assert chosen(pytester, "--kvgpt-cache=my.caches:Mine").variants == ()
    both = chosen(pytester, "--kvgpt-cache=my.caches:Mine+cla2", "--kvgpt-variants=v1")
    assert (both.caches, both.variants) == (("my.caches:Mine+cla2",), ("v1",))


def test_a_grid_may_be_a_file(pytester):
    path = pytester.makefile(".toml", grid='model = "gpt2"\nweights = "random:7"\nlengths = [4]\n')
    settings = chosen(pytester, f"--kvgpt-grid={path}")
    assert (settings.model, settings.weights, settings.lengths) == ("gpt2", "random:7", (4,))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--kvgpt-variants=v1,v9", "unknown variant 'v9' (at 'v9'): known: v0, v1"),
        ("--kvgpt-model=gpt5", "unknown model 'gpt5': known: nano, nano-rotary, gpt2"),
        ("--kvgpt-device=tpu", "unknown device 'tpu': known: cpu, cuda"),
        ("--kvgpt-dtype=int8", "unknown dtype 'int8': known: float32, bfloat16"),
        ("--kvgpt-weights=borrowed", "has no weights 'borrowed': known: shipped, random, random:SEED"),
        ("--kvgpt-weights=random:x", "expected whole numbers of at least 0"),
        ("--kvgpt-lengths=32,x", "--kvgpt-lengths 'x': expected whole numbers"),
        ("--kvgpt-lengths=0", "--kvgpt-lengths '0': expected whole numbers"),
        ("--kvgpt-rounds=0", "--kvgpt-rounds '0'"),
        ("--kvgpt-grid=huge", "unknown grid 'huge': known: quick, seed, full"),
        ("--kvgpt-corpus=novel", "no corpus 'novel': known: embedded, wikitext-2"),
    ],
)
def test_an_unknown_value_is_a_usage_error_that_lists_the_known_ones(pytester, option, message):
    result = pytester.runpytest_subprocess("-p", "kvgpt.options", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("lengths = [", "not TOML"),
        ("length = [3]", "unknown key 'length': known: model, weights"),
        ('lengths = "32"', "lengths='32': expected tuple"),
        ("lengths = [0]", "expected whole numbers of at least 1"),
        ('variants = ["v9"]', "unknown variant 'v9'"),
    ],
)
def test_a_broken_grid_is_named(tmp_path, grid, message):
    path = tmp_path / "grid.toml"
    path.write_text(grid)
    with pytest.raises(ValueError, match=message):
        read_grid(str(path))


@pytest.fixture
def bench(pytester, pytestconfig, monkeypatch):
    """Run the project's own benchmarks somewhere else, and read what they wrote."""
    # A run of its own, also where these tests are spread over workers: pytest-benchmark times nothing in a worker.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(*arguments):
        out = pytester.path / "out.json"
        result = pytester.runpytest_subprocess(
            str(pytestconfig.rootpath / "benchmarks"),
            f"--rootdir={pytestconfig.rootpath}",
            f"-c{pytestconfig.rootpath / 'pytest.ini'}",
            "--kvgpt-rounds=6",
            "--kvgpt-warmup=0",
            f"--benchmark-json={out}",
            *arguments,
        )
        return result, json.loads(out.read_text()) if out.exists() and out.stat().st_size else None

    return run


@pytest.fixture
def tiny(tmp_path):
    import torch

    import kvgpt
    from kvgpt.conformance import strategies

    config = kvgpt.GPTConfig(n_layer=2, n_head=1, n_embd=64, vocab_size=257, block_size=16)
    strategies.model(config, 0, torch.float32).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_every_family_and_variant_leaves_a_record(bench, tiny):
    result, data = bench(f"--kvgpt-model={tiny}", "--kvgpt-lengths=4,8,32", "--kvgpt-max-tokens=64")
    assert result.ret == 0, result.stdout.str()
    assert (
        "left out 14 cases" in result.stdout.str() and "context of 16 tokens, 32 were asked for" in result.stdout.str()
    )
    every = [benchmark["extra_info"]["kvgpt"] for benchmark in data["benchmarks"]]
    beyond, records = ([made for made in every if (made["family"] == "positions") is kind] for kind in (True, False))
    assert len(records) == 7 * (2 + 2 + 2)
    assert {made["workload"]["positions"].partition(":")[0] for made in beyond} == {"recompute", "shift", "interpolate"}
    for made in beyond:
        workload, metrics = made["workload"], made["metrics"]
        assert workload["approximate"] == workload["positions"].startswith("shift")
        assert workload["scored_tokens"] == workload["new_tokens"] * workload["batch_size"]
        assert metrics["perplexity"]["value"] == pytest.approx(math.exp(metrics["nll"]["value"]))
        assert workload["max_length"] == (workload["new_tokens"] if "interpolate" in workload["positions"] else 16)
    order = [made["variant"] for made in records if made["family"] == "latency"]
    assert order == ["v0", "v1", "v2", "v3", "v4", "v3a", "v4a"] * 2, "variants of one workload are adjacent"
    for made in records:
        assert made["validity"]["ok"]
        workload, metrics = made["workload"], made["metrics"]
        if made["family"] == "latency":
            (samples,) = metrics["total_latency"]["processes"]
            assert len(samples) == 6 and metrics["total_latency"]["interval"] == [min(samples), max(samples)]
            assert metrics["per_token_latency"]["value"] * workload["new_tokens"] == pytest.approx(
                metrics["total_latency"]["value"]
            )
        elif made["family"] == "memory":
            assert metrics["cache_bytes"]["value"] == metrics["cache_bytes_formula"]["value"]
            assert (
                metrics["peak_memory"]["value"] >= metrics["weights_bytes"]["value"] + metrics["cache_bytes"]["value"]
            )
        else:
            assert workload["scored_tokens"] == 4 * 15 and len(workload["corpus_sha256"]) == 64
            assert (
                metrics["perplexity_change"]["value"] == 0
                if made["variant"] == "v1"
                else "interval" in metrics["nll_change"]
            )
    assert data["machine_info"]["kvgpt"]["device"]["kind"] == "cpu"
    windows = {"dense+window", "int8+window"}
    named = {benchmark["params"]["variant"] for benchmark in data["benchmarks"]}
    assert named == windows | set(order), "axes are plain params"


def test_a_cache_of_ones_own_is_measured_beside_a_variant(bench, tiny):
    mine = "kvgpt.caches.dense_cat:DenseCatCache+cla2"
    result, data = bench(
        f"--kvgpt-model={tiny}",
        "--kvgpt-lengths=4",
        f"--kvgpt-cache={mine}",
        "--kvgpt-variants=v3",
        "--kvgpt-max-tokens=64",
    )
    assert result.ret == 0, result.stdout.str()
    perplexity = {
        made["variant"]: made["metrics"]["nll"]["value"]
        for made in (benchmark["extra_info"]["kvgpt"] for benchmark in data["benchmarks"])
        if made["family"] == "perplexity" and made["workload"]["mode"] == "teacher_forced"
    }
    assert perplexity[mine] == pytest.approx(perplexity["v3"])


def test_random_weights_are_scored_on_random_ids(bench, tiny):
    result, data = bench(
        f"--kvgpt-model={tiny}", "--kvgpt-weights=random:3", "--kvgpt-lengths=4", "-k", "perplexity and v1"
    )
    assert result.ret == 0, result.stdout.str()
    workload = data["benchmarks"][0]["extra_info"]["kvgpt"]["workload"]
    assert workload["corpus"] == "random" and workload["weights"] == "random:3" and "corpus_sha256" not in workload


def test_without_timing_every_case_runs_once(bench, tiny):
    result, _ = bench(
        f"--kvgpt-model={tiny}",
        "--kvgpt-lengths=4",
        "--benchmark-disable",
        "--kvgpt-variants=v1,v2",
        "--kvgpt-max-tokens=32",
    )
    assert result.ret == 0, result.stdout.str()
    result.assert_outcomes(passed=2 * (1 + 1 + 2) + 4 * 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kvgpt-device=cuda"], "torch sees no CUDA device"),
        (["--kvgpt-cache=no.such:Cache"], "no cache at 'no.such:Cache'"),
        (["--kvgpt-model=gpt2"], "kvgpt fetch openai-community/gpt2"),
    ],
)
def test_a_run_that_cannot_be_is_a_usage_error(bench, arguments, message, monkeypatch):
    import torch

    if "cuda" in message.lower() and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")
    result, _ = bench("--kvgpt-lengths=4", "-k", "latency", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


def test_a_corpus_shorter_than_one_context_is_said(bench, tiny, tmp_path):
    (tmp_path / "short.txt").write_text("short")
    result, _ = bench(f"--kvgpt-model={tiny}", f"--kvgpt-corpus={tmp_path / 'short.txt'}", "-k", "perplexity and v1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "a text of 5 tokens is shorter than one context of 16" in result.stderr.str()
