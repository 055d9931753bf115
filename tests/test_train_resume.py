"""A run that stops goes on to the same bits, and what stops it leaves the last checkpoint whole."""

import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from test_train import CONFIG, CORPUS

import kvgpt
from kvgpt.train import Run, fresh, train
from kvgpt.training.schedule import Schedule

SCHEDULE = Schedule(steps=24, batch_size=4, warmup=4, evaluate_every=12, checkpoint_every=5, log_every=3)
TINY = """
[model]
n_layer = 2
n_head = 2
n_embd = 32
vocab_size = 257
block_size = 64

[data]
corpus = "embedded"

[schedule]
steps = 200
batch_size = 2
checkpoint_every = 5
evaluate_every = 200
evaluate_tokens = 512
"""


class Stopped(Exception):
    """What a test stops a run with."""


def run_in(directory, schedule=SCHEDULE, config=CONFIG, identity=(), resume=False, stop_at=None):
    """Train in ``directory``; once ``stop_at`` steps are on the curve, stop as if killed."""

    def stop(line):
        if stop_at is not None and line.startswith(f"step {stop_at}/"):
            raise Stopped

    run = Run(directory, schedule, dict(identity), resume)
    return train(fresh(config, schedule), CORPUS, schedule, run, report=stop, tick=stop)


def weights(result):
    return result.model.state_dict()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("straight") / "run")


@pytest.mark.parametrize("stop_at", [5, 6, 18, 24])
def test_a_resumed_run_has_the_weights_and_the_curve_of_one_that_never_stopped(tmp_path, straight, stop_at):
    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=stop_at)
    result = run_in(tmp_path, resume=True)
    assert all(torch.equal(tensor, weights(straight)[name]) for name, tensor in weights(result).items())
    assert result.curve == straight.curve


def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path):
    """A process of its own, and SIGKILL: nothing is tidied up."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY)
    command = [sys.executable, "-m", "kvgpt", "train", recipe, "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # another number of threads would add up in another order
    subprocess.run([*command, tmp_path / "straight" / "run"], check=True, env=environment, stdout=subprocess.DEVNULL)
    with subprocess.Popen(
        [*command, tmp_path / "killed" / "run"], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not list(tmp_path.glob("killed/run/step-00001?")):
            pass
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    subprocess.run(
        [*command, tmp_path / "killed" / "run", "--resume"], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    one, other = (kvgpt.GPT.from_pretrained(tmp_path / name / "run").state_dict() for name in ("straight", "killed"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    for name in ("curve.csv", "curve.png"):
        assert (tmp_path / "straight/run" / name).read_bytes() == (tmp_path / "killed/run" / name).read_bytes(), name
    assert not list(tmp_path.glob("killed/run/step-*")) and not list(tmp_path.glob("killed/run/.writing-*"))


def test_a_checkpoint_on_the_way_is_a_model_that_loads(tmp_path):
    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=12)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000010"], "the newest alone"
    assert kvgpt.GPT.from_pretrained(tmp_path / "step-000010").config == CONFIG


@pytest.mark.parametrize("what", ["save_file", "manifest.write"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_while_writing_leaves_the_checkpoint_before(tmp_path, straight, monkeypatch, what, error):
    def fail(*args, **options):
        raise error

    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=6)
    with monkeypatch.context() as broken:
        broken.setattr(f"kvgpt.train.run.{what}", fail)
        with pytest.raises(type(error)):
            run_in(tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"], "half a checkpoint was left"
    result = run_in(tmp_path, resume=True)
    assert all(torch.equal(tensor, weights(straight)[name]) for name, tensor in weights(result).items())


def test_a_kill_between_two_checkpoints_names_leaves_both_and_the_newer_one_serves(tmp_path, straight):
    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=6)
    shutil.copytree(tmp_path / "step-000005", tmp_path / ".writing-1" / "checkpoint")
    shutil.copytree(tmp_path / "step-000005", tmp_path / "before")
    with pytest.raises(Stopped):
        run_in(tmp_path, resume=True, stop_at=12)
    (tmp_path / "before").rename(tmp_path / "step-000005")
    assert run_in(tmp_path, resume=True).curve == straight.curve
    assert [path.name for path in tmp_path.iterdir()] == ["step-000024"], "what was left over is let go, too"


def test_the_newest_checkpoint_is_the_one_with_most_steps(tmp_path):
    for name in ("step-999999", "step-1000000"):
        (tmp_path / name).mkdir()
    assert Run(tmp_path, SCHEDULE, {}, resume=True).newest == tmp_path / "step-1000000"


def test_an_unfinished_run_is_never_overwritten_unasked(tmp_path):
    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=6)
    with pytest.raises(ValueError, match=r"a run that stopped at step-000005: go on with --resume, name another"):
        run_in(tmp_path)


def test_nothing_to_go_on_from_is_a_run_from_the_start(tmp_path, straight):
    assert run_in(tmp_path / "new", resume=True).curve == straight.curve


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": dataclasses.replace(SCHEDULE, learning_rate=1e-4)}, r"learning_rate=0.003, .* asks for 0.0001"),
        ({"schedule": dataclasses.replace(SCHEDULE, steps=48)}, r"steps=24, this run asks for 48"),
        ({"identity": {"corpus_sha256": "b"}}, r"corpus_sha256='a', this run asks for 'b'"),
        ({"config": dataclasses.replace(CONFIG, n_layer=3)}, r"n_layer=2.*this run of .*n_layer=3"),
        ({"config": dataclasses.replace(CONFIG, sharing="cla2")}, r"sharing=None.*this run of .*sharing='cla2'"),
    ],
)
def test_another_run_is_refused_and_the_checkpoint_stays(tmp_path, change, message):
    identity = {"corpus_sha256": "a"}
    with pytest.raises(Stopped):
        run_in(tmp_path, identity=identity, stop_at=6)
    with pytest.raises(ValueError, match=message):
        run_in(tmp_path, **{"identity": identity, **change}, resume=True)
    assert (tmp_path / "step-000005" / "model.safetensors").exists()


def test_how_often_it_is_kept_may_change(tmp_path, straight):
    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=6)
    result = run_in(tmp_path, dataclasses.replace(SCHEDULE, checkpoint_every=7), resume=True)
    assert all(torch.equal(tensor, weights(straight)[name]) for name, tensor in weights(result).items())


@pytest.mark.parametrize("name", ["training.safetensors", "training.json", "curve.csv", "model.safetensors"])
def test_a_damaged_checkpoint_is_named_and_not_gone_on_from(tmp_path, name):
    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=6)
    path = tmp_path / "step-000005" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"step-000005/{name}: sha256"):
        run_in(tmp_path, resume=True)


def test_a_loss_that_is_not_finite_names_the_checkpoint_that_is_kept(tmp_path, monkeypatch):
    with pytest.raises(Stopped):
        run_in(tmp_path, stop_at=6)
    monkeypatch.setattr("torch.nn.functional.cross_entropy", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(FloatingPointError, match=r"step 6: the loss is nan; .*; .*step-000005 is kept$"):
        run_in(tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]
