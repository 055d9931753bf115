"""The kit raises no false alarm: caches that are right, of kinds that kvgpt does not ship, keep every promise. So do
codes that are decoded in tiles, as built-in caches do for large models alone.
"""

import pytest
import sound
from hypothesis import settings

from kvgpt.conformance import DTYPES, Subject, asked_of

KINDS = (sound.Listed, sound.Sliding, sound.Graphable, sound.TiledInt8, sound.TiledInt4)
CASES = [
    pytest.param(promise, Subject(kind, dtype), id=f"{kind.__name__}-{dtype}-{promise.name}")
    for kind in KINDS
    for dtype in DTYPES
    for promise in asked_of(Subject(kind, dtype))[0]
]


@pytest.mark.parametrize(("promise", "subject"), CASES)
def test_a_sound_cache_of_ones_own_keeps_its_promises(promise, subject):
    promise(subject, settings.default.max_examples)


def test_the_kinds_that_are_not_built_in_are_asked_for_their_own():
    asked = {case.values[0].name for case in CASES}
    assert {"A9-window", "A14-graph"} <= asked
