"""The device that a run is on: stable facts for ``machine_info``."""

import os
import platform
from pathlib import Path

import torch

from kvgpt import __version__
from kvgpt.measure import nvml

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # Linux: a folder for each cache that the first core reaches


def describe(device: str) -> dict[str, str | int]:
    """``{kind, name, torch, ...}``: nothing that changes from one run to the next."""
    facts: dict[str, str | int] = {"torch": torch.__version__, "kvgpt": __version__}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {"kind": "cuda", "name": properties.name, "cuda": str(torch.version.cuda)}
        facts |= {"memory": properties.total_memory, "multiprocessors": properties.multi_processor_count}
        driver = gpu(device).facts().driver
        return facts | ({"driver": driver} if driver else {})
    return facts | {
        "kind": "cpu",
        "name": _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
    }


def unusable(device: str) -> str | None:
    """Why nothing can run on ``device`` here, or None."""
    why = no_cuda() if device == "cuda" else None
    return f"{why}: run on a machine with one, or with --kvgpt-device cpu" if why else None


def no_cuda() -> str | None:
    """Why torch has no GPU here, or None."""
    return None if torch.cuda.is_available() else "torch sees no CUDA device"


def gpu(device: str) -> nvml.Gpu:
    """What the driver knows of ``device``; on a CPU, or without a GPU, a :class:`nvml.Gpu` that says so."""
    why = no_cuda() if device == "cuda" else "a CPU is no GPU"
    return nvml.Gpu(absent=why) if why else nvml.find(str(torch.cuda.get_device_properties(0).uuid))


def last_level_cache(device: str = "cpu", folder: Path = CACHES) -> int | None:
    """Bytes of the cache nearest to memory, as one core sees it; None where the system does not say."""
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).L2_cache_size)
    found = [_cache(one) for one in folder.glob("index*")]
    return max((level_size for level_size in found if level_size), default=(0, None))[1]


def _cache(folder: Path) -> tuple[int, int] | None:
    """Level and bytes of a cache that holds data."""
    try:
        kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
    except OSError:
        return None
    if kind not in ("Data", "Unified"):
        return None
    return int(level), int(size[:-1]) * {"K": 2**10, "M": 2**20}[size[-1]]


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return next(iter(names), platform.processor() or platform.machine())
