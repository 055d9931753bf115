"""Which device each worker has, out of those that this process may use already."""

import os
from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible(said: str | None, count: int) -> tuple[str, ...]:
    """The entries of ``CUDA_VISIBLE_DEVICES`` that count, as they are: numbers, UUIDs of GPUs or of their parts (MIG).

    ``count`` is how many devices torch sees. Where the variable is not set these are all; of numbers, CUDA leaves out
    those from the first that it does not know.
    """
    if said is None:
        return tuple(map(str, range(count)))
    entries = [entry.strip() for entry in said.split(",")]
    numbered = all(entry.removeprefix("-").isdigit() for entry in entries)
    return tuple(entries[:count]) if numbered else tuple(entry for entry in entries if entry)


def one_each(workers: int, entries: Sequence[str]) -> list[str]:
    """The entry of each worker; ValueError where there are fewer, or where two are the same device."""
    if workers > len(entries):
        named = f" ({','.join(entries)})" if entries else ""
        raise ValueError(
            f"--workers {workers}: this process sees {len(entries)} GPUs{named}: at most one worker on each"
        )
    if len(set(entries)) < len(entries):
        raise ValueError(f"{VISIBLE}={','.join(entries)}: a device is there twice: name each once")
    return list(entries[:workers])


def environment(inherited: Mapping[str, str], entry: str) -> dict[str, str]:
    """That of a worker which sees one device."""
    return {**inherited, VISIBLE: entry}


def cores_each(workers: int, cores: Sequence[int]) -> list[list[int]]:
    """As many processors for each worker, none for two of them: what one does is no noise to the others.

    ValueError where there are fewer processors than workers.
    """
    most = len(cores) // workers
    if not most:
        raise ValueError(
            f"--workers {workers}: this process may run on {len(cores)} processors: at most one worker on each"
        )
    return [list(cores[first * most : (first + 1) * most]) for first in range(workers)]


def own_cores() -> list[int] | None:
    """The processors that this process may run on; None where the system does not bind processes to any."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
