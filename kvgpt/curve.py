"""The curve of a training: a row every few steps, and the held-out loss where it was taken."""

import csv
import io
from dataclasses import astuple, dataclass, fields


@dataclass(frozen=True)
class Row:
    """``loss`` in nats, the mean since the row before; ``gradient_norm`` before it is clipped."""

    step: int
    tokens: int
    learning_rate: float
    loss: float
    gradient_norm: float
    held_out_loss: float | None = None


HEADINGS = tuple(field.name for field in fields(Row))


def written(rows: list[Row]) -> str:
    """The rows as CSV; an unknown number is an empty cell. A number reads back to the same bits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS)
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def read(text: str) -> list[Row]:
    """What :func:`written` wrote. ValueError names the row that is none."""
    headings, *lines = [*csv.reader(io.StringIO(text))] or [[]]
    if tuple(headings) != HEADINGS:
        raise ValueError(f"not a training curve: columns {', '.join(headings)}, expected {', '.join(HEADINGS)}")
    return [_row(number, cells) for number, cells in enumerate(lines, start=2)]


def _row(number: int, cells: list[str]) -> Row:
    try:
        step, tokens, rate, loss, norm, held_out = cells
        return Row(int(step), int(tokens), float(rate), float(loss), float(norm), float(held_out) if held_out else None)
    except ValueError as error:
        raise ValueError(f"line {number} of a training curve: {error}") from error
