"""The look of every figure, and how it is written: the same bytes from the same data."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

UNCHANGING: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
RC: dict[Any, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": "figure",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,  # a name with dollars is no formula
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.borderpad": 0.0,
    "legend.borderaxespad": 0.0,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "pdf.fonttype": 42,
}


@contextmanager
def applied() -> Iterator[None]:
    """The look, while figures are drawn; matplotlib's own settings come back afterwards."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # it is drawn as a box
        yield


def pictures(drawn: Figure) -> Iterator[tuple[str, bytes]]:
    """(suffix, bytes) of a figure in each format."""
    for suffix, metadata in UNCHANGING.items():
        file = io.BytesIO()
        drawn.savefig(file, format=suffix, metadata=metadata)
        yield suffix, file.getvalue()
