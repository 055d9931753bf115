"""Two ranks on gloo answer what one process does, hold half a cache each, and end together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import rank_answers
import torch
from rank_answers import CASES, CONFIG, IDS, SHAPES
from safetensors.torch import load_file

import kvgpt
from kvgpt import cli, costs, parallel, recorded
from kvgpt.conformance import oracle, strategies, tolerances, uncached
from kvgpt.measure import lockstep
from kvgpt.measure.lockstep import Lockstep
from kvgpt.options import SETTINGS, Settings
from kvgpt.parallel import ALONE, Part
from kvgpt.report import select
from kvgpt.report.consistency import closed_forms

HERE = Path(__file__).parent
PATIENCE = 240.0  # s: this machine may be busy
SOON = 60.0  # s in which a rank that has lost another must have ended
COUNT = 2


def started(words, folder=HERE):
    """Both ranks, without torchrun to look after them: ``sys.executable`` and ``words`` each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    common = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(COUNT)}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common.pop("PYTEST_XDIST_WORKER", None)
    return [
        subprocess.Popen(
            [sys.executable, *map(str, words)],
            env={**common, "RANK": str(rank)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(COUNT)
    ]


def ended(ranks, seconds=PATIENCE):
    """``[(exit code, output)]``, none left behind."""
    try:
        said = [rank.communicate(timeout=seconds)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return list(zip([rank.returncode for rank in ranks], said, strict=True))


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory):
    """What each of two ranks answers."""
    folder = tmp_path_factory.mktemp("ranks")
    for code, said in ended(started([HERE / "rank_answers.py", folder])):
        assert code == 0, said
    return [load_file(folder / f"{rank}.safetensors") for rank in range(COUNT)]


@pytest.fixture(scope="module")
def of_one():
    """What one process answers."""
    return rank_answers.answers(ALONE)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_logits_are_those_of_one_process(of_ranks, of_one, case):
    shape, variant, dtype = case
    found = of_ranks[0][" ".join([*case, "logits"])]
    if dtype == "float64":
        assert tolerances.exact(found, of_one[" ".join([*case, "logits"])])
        return
    model = rank_answers.engine(*case, ALONE).model
    config, group = SHAPES[shape], 2 if variant == "v3" else 1
    truth = oracle.logits(model.state_dict(), IDS, config.n_head, group)
    for verdict in tolerances.by_ratio(found, uncached.logits(model, IDS), truth):
        assert verdict, str(verdict)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_tokens_and_losses_are_those_of_one_process(of_ranks, of_one, case):
    bound = {"float64": tolerances.MEAN_NLL_FLOAT64, "float32": tolerances.MEAN_NLL_FLOAT32}.get(case[2])
    for what in ("greedy", "seeded") if bound else ():  # in bfloat16 two tokens may be as likely
        name = " ".join([*case, what])
        assert torch.equal(of_ranks[0][name], of_one[name])
    for mode in ("teacher_forced", "autoregressive") if bound else ():
        name = " ".join([*case, mode])
        assert abs(float((of_ranks[0][name] - of_one[name]).mean())) <= bound


def test_ranks_agree_to_the_bit(of_ranks):
    first, second = of_ranks
    assert first.keys() == second.keys()
    for name in first:
        if not name.endswith("weights_bytes"):
            assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_each_rank_holds_half_the_cache_and_its_share_of_the_weights(of_ranks, of_one, case):
    shape, variant, dtype = case
    held, weights = (" ".join([*case, what]) for what in ("cache_bytes", "weights_bytes"))
    config = costs.shared(SHAPES[shape], kvgpt.Variant.parse(variant))
    for rank in of_ranks:
        assert COUNT * int(rank[held]) == int(of_one[held])
        assert int(rank[weights]) == costs.weights_bytes(config, dtype, COUNT)
    assert variant == "v0" or int(of_one[held]) > 0
    assert int(of_one[weights]) == costs.weights_bytes(config, dtype)


@pytest.mark.parametrize(
    ("config", "count", "sizes"),
    [
        (CONFIG, 3, "(1, 2, 4)"),
        (SHAPES["grouped"], 4, "(1, 2)"),
        (kvgpt.GPTConfig.preset("gpt2-xl"), 2, "(1, 5, 25)"),
    ],
)
def test_heads_that_cannot_be_shared_out_are_named_with_the_sizes_that_work(config, count, sizes):
    with pytest.raises(ValueError, match="cannot share out") as refused:
        parallel.check(config, count)
    for part in (f"{count} ranks", f"{config.n_head} heads", f"{config.kv_heads} heads of keys", sizes):
        assert part in str(refused.value)


@pytest.fixture
def part():
    still = SimpleNamespace(rank=1, count=2, device=torch.device("cpu"), sum=lambda x: x)
    return parallel.split(strategies.model(CONFIG, 0, torch.float32), still)


def test_a_part_is_neither_shared_nor_saved_nor_split_again(part, tmp_path):
    for refused in (lambda: part.share("cla2"), lambda: kvgpt.Engine(part, "v3"), lambda: kvgpt.Engine(part, "v3a")):
        with pytest.raises(ValueError, match="part of one rank"):
            refused()
    with pytest.raises(ValueError, match="save the whole model"):
        part.save_pretrained(tmp_path / "part")
    assert not list(tmp_path.iterdir())
    assert part.share(None) is part


def test_a_part_keeps_nothing_of_the_whole_alive():
    whole = strategies.model(CONFIG, 0, torch.float32)
    still = SimpleNamespace(rank=1, count=2, device=torch.device("cpu"), sum=lambda x: x)
    own = parallel.split(whole, still)
    for name, tensor in own.state_dict().items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes and tensor.is_contiguous(), name
    assert isinstance(own, Part) and whole.state_dict()["h.0.mlp.c_fc.weight"].size(0) == 4 * CONFIG.n_embd


def test_alone_is_one_rank_that_agrees_with_itself(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with parallel.join() as ranks:
        model, x = strategies.model(CONFIG, 0, torch.float32), torch.ones(2)
        assert (ranks.rank, ranks.count, ranks.agreed(3), ranks.of_each(0.5)) == (0, 1, 3, [0.5])
        assert ranks.part(model) is model and ranks.same(x) is x
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert parallel.join() is ALONE


def test_ranks_that_do_not_come_are_not_waited_for(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in one.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(parallel.Lost, match=r"rank 0 of 2: not all of them were there within 2 s"):
        parallel.join(seconds=2)


def test_rank_0_decides_and_strangers_are_told_from_ranks():
    ranks = SimpleNamespace(
        agreed=lambda number: 7, of_each=lambda own: [own, 3.0, 100.0], neighbours=slice(0, 2), rank=0, count=3
    )
    together = Lockstep(ranks)
    assert together.agreed(2) == 7 and together.again(wanted=False, possible=False) is True
    assert together.others_own() == pytest.approx(3.0)


def test_passes_of_ranks_are_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(parallel, "join", lambda *_: SimpleNamespace(count=2, rank=0))
    config = SimpleNamespace(stash={SETTINGS: Settings(repeats=3)})
    with pytest.raises(pytest.UsageError, match="start torchrun as many times"):
        lockstep.register(config)


def test_a_case_of_two_ranks_is_held_to_their_bytes_and_stands_in_a_panel_of_its_own():
    sizes = {"n_layer": 8, "n_head": 2, "n_embd": 128, "block_size": 256, "batch_size": 1, "new_tokens": 64}
    workload = {"model": "nano", "weights": "shipped", "dtype": "float32", "device": "cpu", **sizes}
    named = ("a case", "memory", "v4", "int8+cla2")
    one, two = (
        recorded.Case(*named, {**workload, **more}, {}, valid=True, notes=(), details={})
        for more in ({}, {"tensor_parallel": COUNT})
    )
    assert closed_forms.cache_bytes(two, 1) * COUNT == closed_forms.cache_bytes(one, 1) > 0
    shared = kvgpt.GPTConfig.preset("nano", sharing="cla2")
    assert closed_forms.weights_bytes(two) == costs.weights_bytes(shared, "float32", COUNT)
    assert list(select.models([one, two])) == [
        "nano (shipped), float32, cpu",
        "nano (shipped), float32, cpu, over 2 ranks",
    ]


GENERATE = ["generate", "--prompt", "The for statement", "--variant", "v2", "--max-new-tokens", "20"]


def test_generate_prints_once_what_one_process_prints(capsys):
    (code, said), (other, nothing) = ended(started(["-m", "kvgpt", *GENERATE]))
    assert code == other == 0 and nothing == ""
    assert cli.main(GENERATE) == 0 and said == capsys.readouterr().out


def test_a_rank_killed_in_a_decode_step_ends_the_other_with_the_reason():
    ranks = started([HERE / "rank_ends.py", "SIGKILL", 80, *GENERATE])
    ranks[1].wait(timeout=PATIENCE)
    begun = time.monotonic()
    (code, said), (killed, _) = ended(ranks, SOON)
    assert time.monotonic() - begun < SOON
    assert killed == -signal.SIGKILL and code == 2
    assert "The for statement" in said, "it was decoding"
    last = said.strip().splitlines()[-1]
    assert "rank 0 of 2 lost the others: one of them has ended" in last and "Traceback" not in said


def test_a_rank_that_hangs_is_waited_for_no_longer_than_was_said():
    ranks = started([HERE / "rank_ends.py", "SIGSTOP", 80, *GENERATE, "--rank-seconds", "4"])
    try:
        said, _ = ranks[0].communicate(timeout=PATIENCE)
        assert ranks[0].returncode == 2 and ranks[1].poll() is None
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    assert "rank 0 of 2 lost the others: one of them did not come within 4 s" in said


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The words of a short run of these files on a tiny model, and where its results go."""
    folder = tmp_path_factory.mktemp("bench")
    config = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=64, vocab_size=257, block_size=16)
    strategies.model(config, 0, torch.float32).save_pretrained(folder / "tiny")
    (folder / "short.toml").write_text("seconds = 0.05\nprecision = 1.0\ncontexts = [0.5]\n")

    def words(name, *more):
        given = [f"--kvgpt-model={folder / 'tiny'}", f"--kvgpt-grid={folder / 'short.toml'}", "--kvgpt-lengths=8"]
        given += ["--kvgpt-max-tokens=64", "--kvgpt-rounds=3", "-p", "no:cacheprovider"]
        given += [f"--rootdir={HERE.parent}", f"-c{HERE.parent / 'pytest.ini'}", f"--benchmark-json={name}"]
        return [*given, *more]

    return folder, words


FAMILIES = {"latency": 4, "decode": 2, "memory": 2, "perplexity": 4, "phases": 2, "collectives": 16, "positions": 5}


def test_benchmarks_run_under_torchrun_and_rank_0_records(bench):
    folder, words = bench
    out = folder / "out.json"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={COUNT}"]
    run = subprocess.run(
        [*torchrun, "-m", "pytest", HERE.parent / "benchmarks", *words(out, "--kvgpt-variants=v1,v4a")],
        env={name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
        | {"PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("test session starts") == 1, "the other ranks keep quiet"
    data = json.loads(out.read_text())
    made = [benchmark["extra_info"]["kvgpt"] for benchmark in data["benchmarks"]]
    counts = {family: sum(one["family"] == family for one in made) for family in FAMILIES}
    assert counts == FAMILIES and len(made) == sum(FAMILIES.values())
    assert {one["workload"]["tensor_parallel"] for one in made} == {COUNT}
    assert sorted({names[0].split("/")[1].split(".")[0] for names in data["kvgpt"]["left_out"].values()}) == [
        "bench_attention",
        "bench_capacity",
        "bench_floor",
        "bench_roofline",
        "bench_sharing",
    ]
    for one in (each for each in made if each["family"] == "memory"):
        figures = {name: figure["value"] for name, figure in one["metrics"].items()}
        whole = costs.cache_bytes(
            kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=64, vocab_size=257, block_size=16),
            kvgpt.Variant.parse(one["canonical"]),
            1,
            8,
            "float32",
        )
        assert COUNT * figures["cache_bytes"] == COUNT * figures["cache_bytes_formula"] == whole
        assert one["details"]["bytes_of"] == "one of 2 ranks" and "resident_memory" not in figures
        assert figures["peak_memory"] >= figures["weights_bytes"] + figures["cache_bytes"]
    checked = subprocess.run([sys.executable, "-m", "kvgpt", "check", out], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_rank_killed_in_a_case_ends_the_run_with_the_reason_and_keeps_what_has_ended(bench):
    folder, words = bench
    out = folder / "killed.json"
    file = HERE.parent / "benchmarks" / "bench_memory.py"
    ends = ["-p", "rank_ends", "--ends-at=15"]  # a case sums 12 times
    ranks = started(["-m", "pytest", file, *words(out, "--kvgpt-variants=v1,v2"), *ends])
    ranks[1].wait(timeout=PATIENCE)
    (code, said), (killed, _) = ended(ranks, SOON)
    assert killed == -signal.SIGKILL and code == 1, said
    reason = "rank 0 of 2 lost the others: one of them has ended"
    assert any(reason in line for line in said.strip().splitlines()[-2:]), said
    assert [one["params"]["variant"] for one in json.loads(out.read_text())["benchmarks"]] == ["v1"]


def test_collectives_are_left_out_where_there_are_no_ranks(pytester, pytestconfig):
    file = pytestconfig.rootpath / "benchmarks" / "bench_collectives.py"
    run = pytester.runpytest_subprocess(str(file), f"--rootdir={pytestconfig.rootpath}", "--collect-only", "-q")
    run.stdout.fnmatch_lines(["left out 16 cases: one process has no other to exchange with: torchrun*"])


pytest_plugins = ["pytester"]
