"""Caches of Hugging Face transformers' kind, and anybody's own that are used like them.

Such a cache has ``update(key_states, value_states, layer_idx)``, which keeps this step's vectors and returns all that
the layer may see, and ``get_seq_length()``. Nothing here imports transformers before one of theirs is built.
"""

from kvgpt.caches.transformers.adapter import (
    Crops,
    Forks,
    Reorders,
    Resets,
    Selects,
    TransformersCache,
    TransformersStyle,
)
from kvgpt.caches.transformers.classes import adapt, is_transformers_style
from kvgpt.caches.transformers.config import model_config
from kvgpt.caches.transformers.quantised import Fp8, Hqq4, Hqq8, Quanto2, Quanto4
from kvgpt.caches.transformers.sliding import Slides, SlidingDynamic, SlidingStatic

__all__ = [
    "Crops",
    "Forks",
    "Fp8",
    "Hqq4",
    "Hqq8",
    "Quanto2",
    "Quanto4",
    "Reorders",
    "Resets",
    "Selects",
    "Slides",
    "SlidingDynamic",
    "SlidingStatic",
    "TransformersCache",
    "TransformersStyle",
    "adapt",
    "is_transformers_style",
    "model_config",
]
