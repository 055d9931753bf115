"""One figure over another."""

from math import inf


def quotient(value: float | None, reference: float | None) -> float | None:
    """None where either is missing, or there is no finite ratio."""
    if value is None or not reference:
        return None
    ratio = float(value) / float(reference)
    return ratio if abs(ratio) < inf else None
