"""Two processes train one model: the curve is that of one process with the same batches."""

import os
import subprocess
import sys

import pytest

import kvgpt
from kvgpt.curve import read

OPTIONS = ["--steps", "6", "--batch-size", "4", "--log-every", "1", "--evaluate-every", "3", "--evaluate-tokens", "512"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def train(out, *options, processes=1):
    """Run ``kvgpt train nano`` under torchrun, or alone; what it printed."""
    alone = [sys.executable, "-m", "kvgpt"]
    under = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        "-m",
        "kvgpt",
    ]
    command = [*(alone if processes == 1 else under), "train", "nano", *OPTIONS, "--out", str(out), *options]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    done = train(out)
    assert done.returncode == 0, done.stderr
    return read((out / "curve.csv").read_text())


@pytest.mark.parametrize("options", [[], ["--batch-size", "2", "--accumulate", "2"]])
def test_two_processes_have_the_curve_of_one(tmp_path, alone, options):
    done = train(tmp_path / "run", *options, processes=2)
    assert done.returncode == 0, done.stderr
    curve = read((tmp_path / "run" / "curve.csv").read_text())
    assert [row.tokens for row in curve] == [row.tokens for row in alone]
    assert [row.loss for row in curve] == pytest.approx([row.loss for row in alone], rel=2e-5)
    assert [row.gradient_norm for row in curve] == pytest.approx([row.gradient_norm for row in alone], rel=1e-3)
    assert curve[-1].held_out_loss == pytest.approx(alone[-1].held_out_loss, rel=2e-5)
    assert done.stdout.count("step 3/6") == done.stdout.count("wrote ") == 1, "one process speaks for both"
    assert kvgpt.GPT.from_pretrained(tmp_path / "run").config == kvgpt.GPTConfig.preset("nano")


def test_a_batch_that_cannot_be_dealt_is_refused(tmp_path):
    done = train(tmp_path / "run", "--batch-size", "3", processes=2)
    assert done.returncode != 0
    assert "batch_size=3 cannot be dealt evenly to 2 processes: one of the two must be a multiple of 2" in done.stderr
    assert not (tmp_path / "run").exists()
