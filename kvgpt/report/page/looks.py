"""The looks that the page draws with: of variants, of phases and of tones, each for light paper and for dark."""

from collections.abc import Mapping, Sequence
from typing import Any

from kvgpt.recipes import styles

PHASES = {"embedding": "#E9C46A", "attention": "#E63946", "mlp": "#457B9D", "head": "#2A9D8F", "other": "#8D99AE"}


def variants(names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """{variant: its colours, marker and line}."""
    return {
        name: {
            **_pair(look.colour),
            "marker": look.marker,
            "line": look.line if isinstance(look.line, str) else look.line[1],
        }
        for name, look in styles(list(names)).items()
    }


def phases() -> dict[str, Mapping[str, str]]:
    """{phase: its colours}."""
    return {name: _pair(colour) for name, colour in PHASES.items()}


def _pair(colour: str) -> dict[str, str]:
    return {"light": colour, "dark": _lightened(colour)}


def _lightened(colour: str) -> str:
    """Half way to white where a colour is dark, less where it is light enough."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    luminance = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
    share = max(0.0, 0.62 - luminance)
    return "#" + "".join(f"{round(part + share * (255 - part)):02X}" for part in (red, green, blue))
