"""Colours that are no variant's, and what becomes of any colour on a dark page. No matplotlib here."""

DARK = "#14171A"  # the page at night
LEAST_CONTRAST = 3.0  # of what is not text with what is behind it: WCAG 2.2, 1.4.11

PHASES = {
    "embedding": "#B88A00",
    "attention": "#C3201E",
    "mlp": "#2464E8",
    "head": "#2E6B4D",
    "other": "#8C8C8C",
}
KINDS = {  # of what runs in a step: each near the phase that it is most of
    "attention": PHASES["attention"],
    "products": PHASES["mlp"],
    "elementwise": PHASES["head"],
    "copies": PHASES["embedding"],
    "views": PHASES["other"],
}
PARTS = KINDS | PHASES  # all that a series can be a part of
TONES = {"good": "#1E7145", "fair": "#805B00", "poor": "#B3261E", "neutral": "#555555"}  # of lines and texts
PALE = {"good": "#DDEFE3", "fair": "#FBF1D5", "poor": "#F8DEDC", "neutral": "#EEEEEE"}  # of what is shaded


def contrast(one: str, other: str) -> float:
    """Of two colours as ``#RRGGBB``, as WCAG has it: 1 for the same, 21 for black and white."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lightened(colour: str) -> str:
    """The same colour with as little white as it takes to stand out from :data:`DARK`."""
    shades = (_with_white(colour, percent) for percent in range(101))
    return next(shade for shade in shades if contrast(shade, DARK) >= LEAST_CONTRAST)


def _channels(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def _with_white(colour: str, percent: int) -> str:
    return "#" + "".join(f"{round(value + (255 - value) * percent / 100):02X}" for value in _channels(colour))


def _luminance(colour: str) -> float:
    shares = [value / 255 for value in _channels(colour)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
