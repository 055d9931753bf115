"""How the losses of trainings fell: what they were trained on, thin, and what was held out, marked."""

from collections.abc import Mapping, Sequence

from kvgpt.curve import Row
from kvgpt.report.chart import Axis, Chart, Panel, Point, Series


def losses(runs: Mapping[str, Sequence[Row]]) -> Chart:
    """The curves of trainings by their names, over one axis of tokens."""
    series = [one for name, rows in runs.items() for one in _of(name, rows)]
    x, y = Axis("training tokens (millions)", low=0.0), Axis("loss (nats a token)", "log")
    return Chart("curve", "Loss over training", (Panel("", x, y, tuple(series)),))


def _of(name: str, rows: Sequence[Row]) -> list[Series]:
    trained = tuple(Point(row.tokens / 1e6, row.loss) for row in rows)
    held_out = tuple(Point(row.tokens / 1e6, row.held_out_loss) for row in rows if row.held_out_loss is not None)
    return [
        Series(f"{name}, training", "fit", trained, variant=name, metric="loss", in_legend=False),
        Series(f"{name}, held out" if held_out else name, "line", held_out, variant=name, metric="held_out_loss"),
    ]
