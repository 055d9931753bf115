"""What proves a cache: promises, the oracle that they are held to, what is drawn for them, and the tolerances.

Three ways in: ``pytest --pyargs kvgpt.conformance --kvgpt-cache package.module:Class``, :func:`check_cache`, and
:data:`PROMISES`, each of which proves itself over a :class:`Subject`.
"""

from kvgpt.conformance import (
    accounting,
    contract,
    evaluation,
    exactness,
    generation,
    life,
    quantisation,
    saving,
    sharing,
    slots,
)
from kvgpt.conformance.kit import DTYPES, Report, again, asked_of, check_cache
from kvgpt.conformance.promise import EXAMPLES, PROMISES, Broken, Promise
from kvgpt.conformance.scene import Op, Scene
from kvgpt.conformance.subject import Subject

CHAPTERS = (exactness, slots, contract, quantisation, sharing, accounting, evaluation, generation, saving, life)
"""The modules whose checks are entered in :data:`PROMISES` when they are imported."""

__all__ = [
    "CHAPTERS",
    "DTYPES",
    "EXAMPLES",
    "PROMISES",
    "Broken",
    "Op",
    "Promise",
    "Report",
    "Scene",
    "Subject",
    "again",
    "asked_of",
    "check_cache",
]
