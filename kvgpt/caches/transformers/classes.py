"""From a class of transformers-style caches to its adapter."""

import inspect
from functools import cache

from kvgpt.caches.base import KVShape
from kvgpt.caches.transformers.adapter import (
    Crops,
    Forks,
    Preallocated,
    Reorders,
    Resets,
    Selects,
    TransformersCache,
    TransformersStyle,
)
from kvgpt.caches.transformers.config import model_config


def is_transformers_style(found: object) -> bool:
    """Whether this is a class of caches that :func:`adapt` takes."""
    methods = ("update", "get_seq_length")
    return isinstance(found, type) and all(callable(getattr(found, name, None)) for name in methods)


@cache
def adapt(cls: type[TransformersStyle]) -> type[TransformersCache]:
    """The adapter of a class of theirs: always the same one, under the class's own name.

    It offers what the class has methods for. The class's constructor is given a ``config`` and a ``max_cache_len``
    where it requires them, and nothing else; ValueError where it requires more.
    """
    bare = inspect.Parameter.empty
    needs = [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is bare and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    unknown = [name for name in needs if name not in ("config", "max_cache_len")]
    if unknown:
        raise ValueError(
            f"{cls.__qualname__} cannot be built without {', '.join(unknown)}: name a subclass of "
            "kvgpt.caches.transformers.TransformersCache whose build(shape) does it, such as Quanto4 there"
        )

    def build(self: TransformersCache, shape: KVShape) -> TransformersStyle:
        given = {"config": model_config(shape) if "config" in needs else None, "max_cache_len": shape.max_length}
        return cls(**{name: given[name] for name in needs})

    named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__, "build": build}
    return type(cls.__name__, _offered(cls), named)


def _offered(cls: type[TransformersStyle]) -> tuple[type[TransformersCache], ...]:
    """What a class of theirs has methods for. Their base class has all of them, their static layers have not."""
    if any((one.__module__, one.__name__) == ("transformers.cache_utils", "StaticCache") for one in cls.__mro__):
        return (Preallocated,)
    offers = {"reset": Resets, "crop": Crops, "batch_select_indices": Selects, "reorder_cache": Reorders}
    found = [offer for method, offer in offers.items() if callable(getattr(cls, method, None))]
    if Selects in found and Reorders in found:
        found.remove(Reorders)
    return (*found, Forks)
