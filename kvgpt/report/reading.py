"""Results files of any kind: a benchmark run's JSON, its journal, or the original research's results.jsonl."""

from collections.abc import Sequence
from pathlib import Path

from kvgpt import recorded
from kvgpt.report import original


def read(path: Path) -> tuple[recorded.Results, list[str]]:
    """The results of one file, and a line for each thing in it that does not count, with the reason."""
    if not original.recognises(path):
        return recorded.read(path), []
    reading = original.read_all(path)
    return reading.results, [*reading.repeated, *(f"left out: {line}" for line in reading.left_out)]


def together(paths: Sequence[Path]) -> tuple[recorded.Results, list[str]]:
    """Several files as one: of a case that is there twice the first counts, and a line names each of the others.

    ValueError where they were measured on devices that differ.
    """
    every = [read(path) for path in paths]
    merged = recorded.merge([results for results, _ in every])
    remarks = [f"{path}: {remark}" for path, (_, lines) in zip(paths, every, strict=True) for remark in lines]
    return merged, remarks + [f"{case.name}: measured before, left out" for case in merged.repeated]
