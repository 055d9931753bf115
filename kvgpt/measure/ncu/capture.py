"""Running ``ncu``: found on PATH, never through a shell, never with more rights than this process has."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kvgpt.measure.ncu import counters
from kvgpt.measure.ncu.exported import PREFIX

OLDEST, NEWEST = 2021, 2026  # years of its versions whose options and CSV these are
PATIENCE = 3600.0  # seconds: counters take several runs of all steps
SHORT = 120.0
ADMINISTRATOR = (
    "the driver lets administrators alone read its counters (ERR_NVGPUCTRPERM): whoever administers this machine may "
    "load the kernel module nvidia with NVreg_RestrictProfilingToAdminUsers=0, or give a container CAP_SYS_ADMIN"
)


class Skipped(Exception):
    """Why nothing was counted, and what would change that."""


@dataclass(frozen=True)
class Tool:
    """Where ``ncu`` is, and its version."""

    path: str
    version: str


def find(named: str = "ncu") -> Tool:
    """The tool, by its name on PATH or its path; Skipped where it is absent, or of a version that nobody knows here."""
    path = shutil.which(named)
    if path is None:
        raise Skipped(f"no {named} on PATH: it comes with the CUDA toolkit as nsight-compute; --ncu PATH names one")
    said = _run([path, "--version"], SHORT)
    found = re.search(r"Version (\d{4})\.(\d+)[.\d]*", said)
    if found is None or not OLDEST <= int(found[1]) <= NEWEST:
        version = found[0] if found else said.strip()[-100:] or "nothing"
        raise Skipped(f"{path} says {version!r}: known are {OLDEST} to {NEWEST}: name another with --ncu PATH")
    return Tool(path, found[0].removeprefix("Version "))


def available(tool: Tool) -> set[str]:
    """The counters of the GPU at hand, by their names without a suffix."""
    said = _run([tool.path, "--query-metrics"], SHORT)
    return {line.split()[0] for line in said.splitlines() if "__" in line.partition(" ")[0]}


def capture(tool: Tool, words: Sequence[str], ranges: Sequence[str], out: Path) -> Path:
    """Run a command under the tool and keep ``out``, a ``.ncu-rep`` of the kernels in these ranges.

    The command runs again for each set of counters, and nothing clears a cache in between: what a step leaves near
    the cores is there for the next kernel, as it is without the tool.
    """
    try:
        wanted = counters.wanted(available(tool))
    except ValueError as error:
        raise Skipped(f"{error}: see `{tool.path} --query-metrics`") from error
    included = [word for name in ranges for word in ("--nvtx-include", f"{PREFIX}{name}/")]
    options = ["--nvtx", *included, "--metrics", ",".join(wanted)]
    options += ["--replay-mode", "application", "--cache-control", "none", "--clock-control", "none"]
    said = _run([tool.path, *options, "--force-overwrite", "--export", str(out), *words], PATIENCE)
    if not out.is_file():
        raise Skipped(f"{tool.path} wrote no {out}: {_last(said)}")
    return out


def export(tool: Tool, report: Path) -> str:
    """A ``.ncu-rep`` as CSV, in SI units."""
    words = ["--import", str(report), "--csv", "--page", "raw", "--print-units", "base"]
    return _run([tool.path, *words], SHORT)


def _run(words: Sequence[str], patience: float) -> str:
    """What it printed; Skipped where it failed, was not permitted, or took too long."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(words, timeout=patience, env=environment, check=False, **streams)  # type: ignore[call-overload]  # noqa: S603 - no shell
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"{words[0]} did not end within {patience:.0f} s: ask for fewer variants") from error
    except OSError as error:
        raise Skipped(f"{words[0]}: {error.strerror}: name another with --ncu PATH") from error
    said: str = done.stdout.decode(errors="replace")
    if "ERR_NVGPUCTRPERM" in said:
        raise Skipped(ADMINISTRATOR)
    if done.returncode:
        raise Skipped(f"{words[0]} ended with {done.returncode}: {_last(said)}")
    return said


def _last(said: str) -> str:
    """The last errors among its lines, or its last line."""
    lines = [line.strip("= ") for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return "; ".join(errors[-3:] or lines[-1:]) or "it said nothing"
