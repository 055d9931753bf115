"""The look of every figure, and how it is written: the same bytes from the same data."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SUFFIXES = ("png", "pdf")
RC: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "kvgpt",
}


@contextmanager
def applied() -> Iterator[None]:
    """The look, while figures are drawn; matplotlib's own settings come back afterwards."""
    with mpl.rc_context(RC):
        yield


def figure(columns: int = 1, width: float = 4.6, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side, without a display."""
    drawn = Figure(figsize=(width * columns, height))
    return drawn, list(drawn.subplots(1, columns, squeeze=False)[0])


def lengths(axes: Axes, values: list[int]) -> None:
    """A logarithmic axis of sequence lengths, marked at those measured."""
    axes.set_xscale("log", base=2)
    crowded = len(values) > 8 or any(after < 1.4 * before for before, after in itertools.pairwise(values))
    shown = [value for value in values if value & (value - 1) == 0] if crowded else values
    axes.set_xticks(shown, [str(value) for value in shown])
    axes.minorticks_off()
    axes.set_xlabel("new tokens T")


def save(drawn: Figure, directory: Path, name: str) -> list[Path]:
    """Write a figure as PNG and PDF, each whole or not at all."""
    written = []
    for suffix in SUFFIXES:
        path = directory / f"{name}.{suffix}"
        unchanging = {"Software": None} if suffix == "png" else {"CreationDate": None}
        with tempfile.NamedTemporaryFile(dir=directory, suffix=f".{suffix}", delete=False) as file:
            drawn.savefig(file, format=suffix, metadata=unchanging)
        Path(file.name).replace(path)
        written.append(path)
    return written
