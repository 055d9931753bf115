"""The kit as its users start it: what it says, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = """
import kvgpt
from kvgpt.caches.dense import DenseCache


class Broken(DenseCache):
    def append(self, layer, k, v):
        super().append(layer, 2 * k, v)


class Sound(DenseCache):
    pass
"""
HOME = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """Runs the kit in a folder that has ``mine.py``; the process that ended."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "mine.py").write_text(BROKEN)
    environment = {**os.environ, "PYTHONPATH": f"{HOME}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}

    def run(*arguments, few="4"):
        command = ["-m", "pytest", "--pyargs", "kvgpt.conformance", "-p", "no:cacheprovider", "-q"]
        whole = [sys.executable, *command, "--kvgpt-examples", few, *arguments]
        return subprocess.run(whole, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    "arguments",
    [["-x"], ["-n", "2", "-k", "A1-chunks or T2-repeats"], ["-k", "A1-chunks"], ["-k", "A1-chunks and float64"]],
    ids=" ".join,
)
def test_a_broken_cache_ends_the_run_with_an_error(kit, arguments):
    ended = kit("--kvgpt-cache", "mine:Broken", *arguments)
    assert ended.returncode == 1, ended.stdout
    assert "imported mine:Broken from " in ended.stdout and "mine.py" in ended.stdout
    assert "breaks a promise" in ended.stdout and "  see again:\n" in ended.stdout
    assert "During handling" not in ended.stdout and "Traceback" not in ended.stdout


def test_a_sound_cache_passes_and_what_was_not_asked_is_said(kit):
    ended = kit("--kvgpt-cache", "mine:Sound", "-k", "A1-chunks or D1-bytes-held")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "6 passed" in ended.stdout and "mine:Sound was not asked for A9-window: not declared: window" in ended.stdout


def test_two_caches_and_a_variant_in_one_run(kit):
    names = ("--kvgpt-cache", "mine:Sound", "--kvgpt-cache", "mine:Broken", "--kvgpt-variants", "v2")
    ended = kit(*names, "-k", "A1-chunks and float64")
    assert ended.returncode == 1 and "1 failed, 2 passed" in ended.stdout, ended.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no cache to check: name one with --kvgpt-cache package.module:Class"),
        (["--kvgpt-cache", "mine:Absent"], "no cache at 'mine:Absent'"),
        (["--kvgpt-cache", "absent:Mine"], "no cache at 'absent:Mine'"),
        (["--kvgpt-variants", "v9"], "unknown variant 'v9'"),
        (["--kvgpt-cache", "mine:Sound+cla1"], "unknown sharing 'cla1'"),
    ],
    ids=["nothing", "no class", "no module", "no variant", "no sharing"],
)
def test_what_cannot_be_checked_is_a_usage_error_and_never_a_skip(kit, arguments, said):
    ended = kit(*arguments)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR, ended.stdout + ended.stderr
    assert said in ended.stderr and "Traceback" not in ended.stderr
    assert "skipped" not in ended.stdout


def test_workers_fail_for_a_class_that_is_not_there(kit):
    ended = kit("--kvgpt-cache", "mine:Absent", "-n", "2")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "no cache at 'mine:Absent'" in ended.stdout and "INTERNALERROR" not in ended.stdout


def test_a_choice_that_leaves_no_promise_is_no_success(kit):
    assert kit("--kvgpt-cache", "mine:Sound", "-k", "no-such-promise").returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_options_import_no_torch():
    code = "import sys, kvgpt.options; sys.exit('torch' in sys.modules or 'hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=HOME, check=False).returncode == 0
