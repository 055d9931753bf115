"""The project's own benchmarks, run on a tiny model: which cases there are, and what each leaves behind."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from kvgpt import costs
from kvgpt.config import GPTConfig

pytest_plugins = ["pytester"]


@pytest.fixture
def bench(pytester, pytestconfig, monkeypatch):
    """Run the project's own benchmarks somewhere else, and read what they wrote."""
    # A run of its own, also where these tests are spread over workers: pytest-benchmark times nothing in a worker.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(*arguments):
        out, grid = pytester.path / "out.json", pytester.path / "short.toml"
        grid.write_text("seconds = 0.05\nprecision = 1.0\n")
        result = pytester.runpytest_subprocess(
            str(pytestconfig.rootpath / "benchmarks"),
            f"--rootdir={pytestconfig.rootpath}",
            f"-c{pytestconfig.rootpath / 'pytest.ini'}",
            f"--kvgpt-grid={grid}",
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


ORDER = ["v0", "v1", "v2", "v3", "v4", "v3a", "v4a"]
OF_THE_MOMENT = (  # what a busy machine makes of a case that is right
    "other processes had",
    "other guests of",
    "a cgroup's quota",
    "the phases sum to",
    "phase_",
    "calibration: a sleep",
)


def test_every_family_and_variant_leaves_a_record(bench, tiny):
    result, data = bench(f"--kvgpt-model={tiny}", "--kvgpt-lengths=8", "--kvgpt-max-tokens=64")
    assert result.ret == 0, result.stdout.str()
    records = {}
    for benchmark in data["benchmarks"]:
        made = benchmark["extra_info"]["kvgpt"]
        records.setdefault(made["family"], []).append(made)
        assert all(note.startswith(OF_THE_MOMENT) for note in made["validity"]["notes"])
    counts = {family: len(made) for family, made in records.items()}
    assert counts == {
        "latency": 2 * 9,  # generations and prompts, dense-cat and dense+matmul beside the seven
        "decode": 7,
        "attention": 2 * 6,  # cold and warm, not v0
        "phases": 7,
        "memory": 7,
        "capacity": 7 + 3,  # three models among seven variants
        "perplexity": 2 * 7,
        "positions": 5 * 5,
        "floor": 8,
        "sharing": 7,  # the ways, of a model without sisters
        "roofline": 2 * 7 + 2,  # prompts and decode steps, and the rate of products in two dtypes
    }
    pulsed = {family for family, every in records.items() if all("pulse" in made.get("details", {}) for made in every)}
    assert pulsed == {"latency", "decode", "attention", "capacity", "floor", "sharing", "roofline"}, (
        "what is timed counts calm moments, but for what takes turns within a round"
    )
    first = [made["variant"] for made in records["latency"]][:9]
    assert first == [*ORDER, "dense-cat", "dense+matmul"], "variants of one workload are adjacent"
    for family, made in ((family, one) for family, every in records.items() for one in every):
        FAMILIES.get(family, lambda workload, figures: None)(
            made["workload"], {name: figure["value"] for name, figure in made["metrics"].items()}
        )
    assert data["machine_info"]["kvgpt"]["device"]["kind"] == "cpu"
    assert len(data["kvgpt"]["calibration"]) == 5 and data["kvgpt"]["roof"]["flops"] > 0
    assert data["kvgpt"]["cases"] == [benchmark["fullname"] for benchmark in data["benchmarks"]]
    left_out = [name for names in data["kvgpt"]["left_out"].values() for name in names]
    assert sum("bench_training" in name for name in left_out) == 4 and not {*left_out} & {*data["kvgpt"]["cases"]}
    for one in (made["metrics"] for made in records["perplexity"] if made["variant"] == "v1"):
        assert one["perplexity_change"]["value"] == 0 and "kl_divergence" not in one, "v1 is its own reference"


def latency(workload, figures):
    if workload["prompt"] == 1:
        assert figures["per_token_latency"] * workload["new_tokens"] == pytest.approx(figures["total_latency"])
        assert figures["time_to_first_token"] > 0 and 0 < figures["fraction_of_floor"] < 1.03
    assert figures["time_to_first_token_floor"] <= 1.03 * figures["time_to_first_token"]
    assert figures["arithmetic_intensity"] == pytest.approx(figures["flops"] / figures["dram_bytes"])


def memory(workload, figures):
    assert figures["cache_bytes"] == figures["cache_bytes_formula"]
    assert figures["peak_memory"] >= figures["weights_bytes"] + figures["cache_bytes"]
    assert ("resident_memory" in figures) == (workload["new_tokens"] == 8 and Path("/proc/self/statm").exists())


def capacity(workload, figures):
    assert figures["max_batch"] >= 1 and figures["peak_memory"] <= workload["memory_budget"]
    if "bytes_per_sequence" in figures:
        room = workload["memory_budget"] - figures["weights_bytes"]
        assert figures["max_batch"] * figures["bytes_per_sequence"] <= room


def perplexity(workload, figures):
    assert workload["scored_tokens"] == 4 * 15 and len(workload["corpus_sha256"]) == 64
    assert figures["perplexity"] == pytest.approx(math.exp(figures["nll"]))


def positions(workload, figures):
    assert workload["approximate"] == workload["positions"].startswith("shift")
    assert workload["scored_tokens"] == workload["new_tokens"] * workload["batch_size"]
    assert figures["perplexity"] == pytest.approx(math.exp(figures["nll"]))
    assert workload["max_length"] == (workload["new_tokens"] if "interpolate" in workload["positions"] else 16)


def roofline(workload, figures):
    if "probe" in workload:
        assert (
            figures["matmul_rate"] > 0
            and figures["read_bandwidth"] > 0
            and workload["dtype"] in ("float32", "bfloat16")
        )
        return
    assert figures["arithmetic_intensity"] == pytest.approx(figures["flops"] / figures["dram_bytes"])
    time = {"prefill": "time_to_first_token", "decode": "per_token_latency"}[workload["phase"]]
    assert figures["achieved_flops"] * figures[time] == pytest.approx(figures["flops"])
    assert ("kernels_per_token" in figures) == (workload["phase"] == "decode")
    assert figures.get("kernels_per_token", 20) > 2 * 8, "two layers of eight operators at least"


FAMILIES = {
    "roofline": roofline,
    "latency": latency,
    "memory": memory,
    "capacity": capacity,
    "perplexity": perplexity,
    "positions": positions,
}


def test_what_does_not_fit_is_left_out_with_the_reason(bench, tiny):
    result, _ = bench(f"--kvgpt-model={tiny}", "--kvgpt-lengths=8,32", "--collect-only", "-k", "decode or attention")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["left out * cases: * has a context of 16 tokens, 32 were asked for"])
    assert "context=8" in result.stdout.str() and "context=32" not in result.stdout.str()


def test_a_score_that_would_take_hours_is_left_out(bench, tmp_path):
    import torch

    import kvgpt
    from kvgpt.conformance import strategies

    config = kvgpt.GPTConfig(n_layer=1, n_head=1, n_embd=256, vocab_size=257, block_size=8192)
    strategies.model(config, 0, torch.float32).save_pretrained(tmp_path / "long")
    arguments = [f"--kvgpt-model={tmp_path / 'long'}", "--kvgpt-variants=v0,v1", "--collect-only", "-k", "perplexity"]
    result, _ = bench(*arguments, "--kvgpt-max-tokens=16384")
    result.stdout.fnmatch_lines(["left out 1 cases: v0 computes * tokens to score these, * operations; *"])
    result, _ = bench(*arguments, "--kvgpt-max-tokens=8192")
    result.stdout.no_fnmatch_line("left out * cases: v0 computes *")


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


def test_other_systems_are_columns_of_the_same_run(bench, tiny):
    pytest.importorskip("transformers", reason="needs transformers: pip install 'kvgpt[peers]'")
    result, data = bench(
        f"--kvgpt-model={tiny}",
        "--kvgpt-lengths=4",
        "--kvgpt-batch-sizes=1,3",
        "--kvgpt-variants=v1",
        "--kvgpt-peers",
        "--kvgpt-lock-clocks",
        "-k",
        "(bench_latency or bench_decode) and not gpt-fast",  # which compiles for half a minute
    )
    assert result.ret == 0, result.stdout.str()
    made = [benchmark["extra_info"]["kvgpt"] for benchmark in data["benchmarks"]]
    names = ["v1", "transformers-dynamic", "transformers-static", "transformers-quantized", "transformers-generate"]
    latency = [one for one in made if one["workload"].get("prompt") == 1]
    assert [one["variant"] for one in latency] == names * 2
    assert [one["workload"]["batch_size"] for one in latency] == [1] * 5 + [3] * 5
    for one in latency:
        beside = latency[0 if one["workload"]["batch_size"] == 1 else 5]
        assert one["metrics"]["floor"] == beside["metrics"]["floor"], "all are held to what v1 must do"
        assert ("time_to_first_token" in one["metrics"]) == (one["variant"] != "transformers-generate")
    steps = [(one["variant"], one["workload"]["context"]) for one in made if one["family"] == "decode"]
    assert steps == [(name, 4) for name in names[:-1]] * 2
    assert "transformers-generate takes no single steps: it is in the latency family" in result.stdout.str()
    assert "the SM clock is not locked: a CPU is no GPU" in result.stdout.str()


def test_random_weights_are_scored_on_random_ids(bench, tiny):
    result, data = bench(
        f"--kvgpt-model={tiny}", "--kvgpt-weights=random:3", "--kvgpt-lengths=4", "-k", "perplexity and v1"
    )
    assert result.ret == 0, result.stdout.str()
    workload = data["benchmarks"][0]["extra_info"]["kvgpt"]["workload"]
    assert workload["corpus"] == "random" and workload["weights"] == "random:3" and "corpus_sha256" not in workload


def test_codes_are_cases_of_their_own_held_to_their_own_bytes(bench, tiny):
    chosen = (
        "perplexity and teacher_forced or bench_inference or bench_training or bench_decode or bench_memory",
        "v1",
    )
    result, data = bench(
        f"--kvgpt-model={tiny}",
        "--kvgpt-weights=random:3+int8",
        "--kvgpt-lengths=4",
        f"--kvgpt-variants={chosen[1]}",
        "-k",
        chosen[0],
    )
    assert result.ret == 0, result.stdout.str()
    assert "are codes, which have no gradients: nothing trains them" in result.stdout.str()
    made = [one["extra_info"]["kvgpt"] for one in data["benchmarks"]]
    assert {one["family"] for one in made} == {"perplexity", "capacity", "decode", "memory"}
    config = GPTConfig(n_layer=2, n_head=1, n_embd=64, vocab_size=257, block_size=16)
    coded = costs.weights_bytes(config, "float32", coded=True)
    for one in made:
        assert one["workload"]["weights"] == "random:3+int8"
        figures = {name: figure["value"] for name, figure in one["metrics"].items()}
        assert figures.get("weights_bytes", coded) == coded
        if one["family"] == "perplexity":
            assert figures["perplexity_change"] == 0 != figures["weights_perplexity_change"]
            assert math.isclose(math.expm1(figures["weights_nll_change"]), figures["weights_perplexity_change"])
        if one["family"] == "decode":
            positions = 16 * 64 * 4
            held = one["workload"]["context"] * costs.token_bytes(config, "dense", "float32")
            assert one["details"]["working_set"] == coded + held
            assert figures["dram_bytes"] < costs.weights_bytes(config, "float32") - positions


def test_pytest_benchmarks_own_compare_reads_results_in_the_projects_folder(bench, tiny, pytester, pytestconfig):
    result, data = bench(f"--kvgpt-model={tiny}", "--kvgpt-lengths=4", "--kvgpt-variants=v1", "-k", "bench_decode")
    assert result.ret == 0 and len(data["benchmarks"]) == 1
    command = [sys.executable, "-m", "pytest_benchmark", "compare", pytester.path / "out.json"]
    ran = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and "bench_decode" in ran.stdout, ran.stderr


def test_without_timing_every_case_runs_once(bench, tiny):
    result, _ = bench(
        f"--kvgpt-model={tiny}",
        "--kvgpt-lengths=4",
        "--benchmark-disable",
        "--kvgpt-variants=v1,v2",
        "--kvgpt-max-tokens=32",
    )
    assert result.ret == 0, result.stdout.str()
    result.assert_outcomes(passed=2 * (2 + 1 + 2 + 1 + 1 + 1 + 2 + 2) + 1 + 8 + 4 * 5 + 2 + 1)


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
