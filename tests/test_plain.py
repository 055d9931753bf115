"""Quantities and columns in plain text."""

import pytest

from kvgpt import plain


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.41e9, "Hz", "1.41 GHz"),
        (33_554_432, "B", "33.55 MB"),
        (250.0, "W", "250 W"),
        (1.4e-7, "s", "140 ns"),
        (0.0, "s", "0 s"),
        (3e-12, "s", "3 ps"),
        (61.0, "°C", "61 °C"),
        (5120, "bit", "5120 bit"),
    ],
)
def test_a_quantity_has_its_prefix(value, unit, text):
    assert plain.quantity(value, unit) == text


def test_columns_line_up_and_lines_end_where_their_text_does():
    assert plain.columns(("a", "bb"), [("ccc", "d"), ("e", "")]) == ["a    bb", "ccc  d", "e"]
