"""How wide a text becomes, before there is a figure to put it in."""

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

FAMILY = "DejaVu Sans"  # comes with matplotlib
POINTS = 72.0  # in an inch
SLACK = 1.02  # letters are moved to whole pixels


@cache
def width(text: str, size: float, weight: str = "normal") -> float:
    """Inches of one line, at a size in points."""
    font = get_font(findfont(FontProperties(family=FAMILY, weight=weight)))
    font.set_size(size, POINTS)
    font.set_text(text, 0.0)
    return float(SLACK * font.get_width_height()[0] / 64 / POINTS)
