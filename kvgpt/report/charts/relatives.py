"""Variants that differ by a part of their recipes, found among those measured."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kvgpt.recipes import Variant
from kvgpt.recorded import Case


def relative(cases: Mapping[str, Case], name: str, **parts: Any) -> str | None:
    """Which other of these variants has the recipe of ``name`` but for these parts; None where none has."""
    recipe = recipe_of(cases[name])
    if recipe is None:
        return None
    try:
        wanted = replace(recipe, **parts).canonical
    except ValueError:
        return None
    return next((other for other, case in cases.items() if other != name and case.canonical == wanted), None)


def recipe_of(case: Case) -> Variant | None:
    """None for a cache of the user's own, and for another system."""
    try:
        return Variant.parse(case.canonical)
    except ValueError:
        return None
