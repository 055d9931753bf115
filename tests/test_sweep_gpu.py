"""A sweep on the GPUs that are here: each worker sees one, by the name that it has."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kvgpt import cli

HOME = Path(__file__).parent.parent
pytestmark = pytest.mark.gpu
FILES = ["benchmarks/bench_decode.py", "benchmarks/bench_floor.py"]
WORDS = ["--", *FILES, "--kvgpt-device=cuda", "--kvgpt-variants=v1,v2"]


def test_each_gpu_has_a_worker_and_each_case_is_there_once(tmp_path):
    count, out = torch.cuda.device_count(), tmp_path / "sweep.json"
    command = [sys.executable, "-m", "kvgpt", "sweep", "--workers", str(count), "--out", str(out), *WORDS]
    subprocess.run(command, cwd=HOME, check=True, timeout=600)
    made = json.loads(out.read_text())
    names = [entry["fullname"] for entry in made["benchmarks"]]
    assert names and len(names) == len(set(names)) and set(names) == set(made["kvgpt"]["cases"])
    assert made["machine_info"]["kvgpt"]["device"]["kind"] == "cuda"


def test_more_workers_than_gpus_are_refused(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(HOME)
    count = torch.cuda.device_count()
    assert cli.main(["sweep", "--workers", str(count + 1), "--out", str(tmp_path / "sweep.json"), *WORDS]) == 2
    assert f"this process sees {count} GPUs" in capfd.readouterr().err and not list(tmp_path.iterdir())
