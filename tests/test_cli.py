"""The command: what it prints, and one line and exit code 2 for what it cannot do."""

import json

import pytest
import torch

import kvgpt
from kvgpt import checkpoint, cli, text
from kvgpt.config import PRESETS
from kvgpt.conformance import strategies


@pytest.fixture
def tiny(tmp_path):
    config = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=8, vocab_size=257, block_size=32)
    strategies.model(config, 0, torch.float32).save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def refused(capsys, *arguments):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_generate_streams_what_the_engine_generates(capsys, tiny):
    arguments = [
        "generate",
        "--model",
        tiny,
        "--variant",
        "v2",
        "--prompt",
        "Lists are",
        "--max-new-tokens",
        "12",
        "--temperature",
        "1",
        "--seed",
        "4",
    ]
    assert cli.main(arguments) == 0
    encoding = text.tokenizer(257)
    ids = torch.from_numpy(encoding.encode("Lists are").astype("int64"))[None]
    model = kvgpt.GPT.from_pretrained(tiny)
    tokens = kvgpt.Engine(model, "v2").generate(ids, 12, temperature=1.0, seed=4, eos=256)[0].tolist()
    assert capsys.readouterr().out == encoding.decode_bytes(tokens).decode(errors="replace") + "\n"


@pytest.mark.parametrize("variant", ["v0", "v4a"])
def test_generate_speaks_with_the_shipped_model(capsys, variant):
    assert (
        cli.main(["generate", "--model", "nano", "--variant", variant, "--prompt", "The ", "--max-new-tokens", "8"])
        == 0
    )
    assert capsys.readouterr().out.startswith("The ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "v9"], "unknown variant 'v9'"),
        (["--prompt", ""], "ids are empty"),
        (["--prompt", "x" * 300], "300 more: this engine has room for 256"),
        (["--max-new-tokens", "-1"], "max_new_tokens=-1: must be at least 0"),
        (["--model", "./nowhere"], "no checkpoint at ./nowhere"),
        (["--model", "gpt3", "--weights", "random"], "gpt3"),
        (["--top-p", "2"], "top_p=2.0"),
    ],
)
def test_generate_refuses_in_one_line(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("kvgpt.hub.reachable", lambda host, port=443: False)
    assert message in refused(capsys, "generate", "--prompt", "The ", *arguments)


def test_train_writes_a_checkpoint_that_says_how_it_was_made(capsys, tmp_path, monkeypatch):
    written = tmp_path / "text.txt"
    written.write_text("abcdefghij" * 300)
    monkeypatch.setitem(PRESETS, "nano", {"n_layer": 1, "n_head": 1, "n_embd": 8, "vocab_size": 257, "block_size": 16})
    corpus = text.Corpus("letters", (written.read_text(),), (written.read_text(),), "")
    monkeypatch.setattr("kvgpt.text.corpus", lambda name: corpus)
    arguments = ["train", "nano", "--out", str(tmp_path / "out"), "--steps", "2", "--batch-size", "2", "--seed", "3"]
    assert cli.main(arguments) == 0
    metadata = checkpoint.read_metadata(tmp_path / "out")
    assert metadata["command"] == "kvgpt train nano --steps 2 --batch-size 2 --seed 3" and metadata["seed"] == "3"
    capsys.readouterr()
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert "has a checkpoint already" in refused(capsys, *arguments)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_a_corpus_shorter_than_a_context_writes_nothing(capsys, tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    err = refused(capsys, "train", "nano", "--corpus", str(tmp_path / "short.txt"), "--out", str(tmp_path / "out"))
    assert "8 training tokens are fewer than one context and its target, 257" in err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_says_so_and_writes_nothing(capsys, monkeypatch, tmp_path):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("kvgpt.train.train", interrupt)
    assert cli.main(["train", "nano", "--out", str(tmp_path / "never")]) == 130
    assert not (tmp_path / "never").exists()
    assert "interrupted" in capsys.readouterr().err


def test_variants_lists_every_name(capsys):
    assert cli.main(["variants"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in kvgpt.variants())


def test_plot_refuses_what_is_no_results_file(capsys, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"benchmarks": [], "machine_info": {}}))
    assert "none with a record of kvgpt's" in refused(
        capsys, "plot", str(tmp_path / "other.json"), "--out", str(tmp_path / "new")
    )
    assert "no such file" in refused(capsys, "plot", str(tmp_path / "nowhere.json"), "--out", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists(), "something was written before the results were read"


def test_fetch_names_what_it_found(capsys):
    assert cli.main(["fetch", "nano"]) == 0
    assert "pretrained" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["generate"], ["train", "--huge"]])
def test_a_command_line_that_means_nothing_is_a_usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2 and "usage: kvgpt" in capsys.readouterr().err


without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


@pytest.fixture
def briefly(monkeypatch, tmp_path):
    """``briefly(*arguments)``: a training of two steps on a small text, and the model that came out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters.txt").write_text("abcdefghij" * 400)
    options = ["--corpus", "letters.txt", "--steps", "2", "--batch-size", "2"]

    def run(*arguments):
        assert cli.main(["train", *arguments, *options, "--out", "out"]) == 0
        return kvgpt.GPT.from_pretrained(tmp_path / "out")

    return run


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        (["nano"], kvgpt.GPTConfig.preset("nano")),
        (["nano-cla4"], kvgpt.GPTConfig.preset("nano", sharing="cla4")),
        (
            ["nano", "--sharing", "cla2", "--n-inner", "576"],
            kvgpt.GPTConfig.preset("nano", sharing="cla2", n_inner=576),
        ),
        (["nano", "--n-kv-head", "1"], kvgpt.GPTConfig.preset("nano", n_kv_head=1)),
        (["nano", "--init-from", "nano", "--align", "kv", "--sharing", "cla2"], kvgpt.GPTConfig.preset("nano-cla2")),
        (["mine.toml"], kvgpt.GPTConfig.preset("nano", n_layer=2)),
        (["mine.toml", "--sharing", "cla2"], kvgpt.GPTConfig.preset("nano", n_layer=2, sharing="cla2")),
    ],
)
def test_train_makes_the_shape_that_was_asked_for(briefly, tmp_path, arguments, config):
    (tmp_path / "mine.toml").write_text('[model]\npreset = "nano"\nn_layer = 2\n[data]\ncorpus = "embedded"\n')
    assert briefly(*arguments).config == config
    metadata = checkpoint.read_metadata(tmp_path / "out")
    assert metadata["command"] == " ".join(
        ["kvgpt", "train", arguments[0], "--corpus", "letters.txt", *arguments[1:], "--steps", "2", "--batch-size", "2"]
    )
    assert {"curve.csv", "curve.png", "model.safetensors"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_checkpoint_is_trained_further_by_its_directory(briefly, tmp_path, monkeypatch):
    before = briefly("nano", "--learning-rate", "1e-3")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "out", "--corpus", "letters.txt", "--steps", "1", "--out", "further"]) == 0
    after = kvgpt.GPT.from_pretrained(tmp_path / "further")
    assert after.config == before.config and not torch.equal(after.wte.weight, before.wte.weight)
    assert checkpoint.read_metadata(tmp_path / "further")["origin"] == "out"


def test_an_evaluation_is_shown_and_nothing_is_trained(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "eval_gpt2"]) == 0
    out = capsys.readouterr().out
    assert "pytest benchmarks/bench_perplexity.py --kvgpt-model gpt2 --kvgpt-corpus wikitext-2" in out
    assert not list(tmp_path.iterdir())


def test_new_writes_a_recipe_that_train_reads(briefly, tmp_path):
    arguments = [
        "train",
        "--new",
        "--size",
        "100k",
        "--corpus",
        "letters.txt",
        "--context",
        "32",
        "--out",
        "small.toml",
    ]
    assert cli.main(arguments) == 0
    model = briefly("small.toml")
    assert model.config.block_size == 32 and 50_000 < sum(one.numel() for one in model.parameters()) < 200_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what to train: eval_gpt2"),
        (["no-such"], "no-such"),
        (["missing.toml"], "missing.toml: cannot be read"),
        (["nano", "--align", "kv"], "--align fits weights that are there: name them with --init-from"),
        (["nano", "--init-from", "nano", "--n-inner", "64"], "--n-inner: nano has a shape of its own"),
        (["nano", "--init-from", "nano", "--align", "kv"], "align='kv' needs a sharing"),
        (["nano", "--corpus", "absent.txt"], "absent.txt"),
        (["nano", "--learning-rate", "-1"], "learning_rate=-1.0: must be a positive number"),
        pytest.param(["nano", "--device", "cuda"], "--device cuda: torch sees no such device", marks=without_cuda),
    ],
)
def test_a_training_that_cannot_be_is_refused(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "train", *arguments)
    assert not list(tmp_path.iterdir())
