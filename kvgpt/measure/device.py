"""The device that a run is on: stable facts for ``machine_info``."""

import os
import platform
from pathlib import Path

import torch

from kvgpt import __version__


def describe(device: str) -> dict[str, str | int]:
    """``{kind, name, torch, ...}``: nothing that changes from one run to the next."""
    facts: dict[str, str | int] = {"torch": torch.__version__, "kvgpt": __version__}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {"kind": "cuda", "name": properties.name, "cuda": str(torch.version.cuda)}
        facts |= {"memory": properties.total_memory, "multiprocessors": properties.multi_processor_count}
        return facts | _driver()
    return facts | {
        "kind": "cpu",
        "name": _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
    }


def unusable(device: str) -> str | None:
    """Why nothing can run on ``device`` here, or None."""
    if device == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device: run on a machine with one, or with --kvgpt-device cpu"
    return None


def _driver() -> dict[str, str | int]:
    import pynvml  # distributed as nvidia-ml-py; of use with an NVIDIA driver only

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        return {"driver": str(pynvml.nvmlSystemGetDriverVersion())}
    finally:
        pynvml.nvmlShutdown()


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return next(iter(names), platform.processor() or platform.machine())
