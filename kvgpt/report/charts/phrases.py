"""Figures as they stand in a sentence or at a bar."""

from collections.abc import Sequence

from kvgpt.plain import quantity


def percent(change: float) -> str:
    """A relative change: ``+0.05%``, ``-13.2%``, ``+3,491%``."""
    value = 100 * change
    if abs(value) < 5e-4:
        return "0%"
    return f"{value:+.3g}%" if abs(value) < 100 else f"{value:+,.0f}%"


def difference(value: float, unit: str) -> str:
    """An amount more or less: ``+49.6 MB``."""
    return f"{'+' if value > 0 else ''}{quantity(value, unit)}"


def listed(names: Sequence[str]) -> str:
    """``v1, v2 and v3``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
