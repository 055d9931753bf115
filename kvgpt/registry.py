"""From a variant to the class of its cache and the model that computes its function."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import torch

from kvgpt import checkpoint
from kvgpt.attention import PATHS
from kvgpt.caches.base import KVCache, KVShape, Storage
from kvgpt.caches.transformers import TransformersStyle, adapt, is_transformers_style
from kvgpt.caches.window import over
from kvgpt.config import ALIGNMENTS, INT8, PRESETS, GPTConfig, sharing_group
from kvgpt.model import GPT
from kvgpt.recipes import STORAGES, Variant


@dataclass(frozen=True)
class Recipe:
    """A cache to build under the name it has in a record. ``variant`` is None for a class of the user's own, which
    runs on a model of any sharing.
    """

    name: str
    cache_class: type[KVCache]
    variant: Variant | None = None

    def cache(self, shape: KVShape) -> KVCache:
        cache = self.cache_class(shape)
        if self.variant is not None:
            cache.attention = PATHS[self.variant.attention]
        return cache

    def model(self, model: GPT, align: Callable[[GPT, str, str], GPT]) -> GPT:
        """``model`` computing this recipe's function: sharing applied where it has none, and where asked
        ``align(model, sharing, kind)``.

        ValueError where the model was made for another sharing.
        """
        has = (model.config.sharing, model.config.align)
        if self.variant is None or (self.variant.sharing, self.variant.align) == has:
            return model
        if has != (None, None):
            raise ValueError(
                f"variant {self.name!r} has sharing {self.variant.sharing!r} and alignment {self.variant.align!r}, "
                f"the model was made with sharing {has[0]!r} and alignment {has[1]!r}: the two must agree"
            )
        shares = self.variant.sharing
        if self.variant.align is None or shares is None:
            return model.share(shares)
        return align(model, shares, ALIGNMENTS[self.variant.align])


def resolve(variant: str | Variant | type[KVCache] | type[TransformersStyle]) -> Recipe:
    """The recipe of a variant's name, of a Variant, or of a class that :func:`cache_class` takes."""
    if isinstance(variant, type):
        name = f"{variant.__module__}:{variant.__qualname__}"
        return Recipe(name, cache_class(variant, variant.__qualname__))
    recipe = Variant.parse(variant) if isinstance(variant, str) else variant
    kind = load(STORAGES[recipe.storage].path)
    if recipe.window:
        kind = over(cast(type[Storage], kind), recipe.sinks)
    return Recipe(recipe.name, kind, recipe)


def load(path: str) -> type[KVCache]:
    """The cache at ``package.module:Class``, or ``package.module:Outer.Inner`` for one inside another.

    This imports the module, and so runs its code; whatever that raises is a ValueError here.
    """
    module, _, name = path.partition(":")
    try:
        found = reduce(getattr, name.split("."), importlib.import_module(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may exit, or skip itself as tests do
        raise ValueError(
            f"no cache at {path!r}: expected package.module:Class ({type(error).__name__}: {error})"
        ) from error
    return cache_class(found, repr(path))


def cache_class(found: Any, name: str) -> type[KVCache]:
    """A KVCache subclass as it is, a class of transformers-style caches behind its adapter; ValueError for others, and
    where a method is missing.
    """
    if is_transformers_style(found):
        found = adapt(found)
    if not (isinstance(found, type) and issubclass(found, KVCache)):
        raise ValueError(
            f"{name} is no subclass of kvgpt.KVCache, and no transformers-style cache: a class with update(key_states, "
            "value_states, layer_idx) and get_seq_length()"
        )
    missing = sorted(found.__abstractmethods__)
    if missing:
        raise ValueError(f"{name} does not define {', '.join(missing)}: a cache needs append, read and nbytes")
    return found


def imported(spec: str) -> str:
    """What a run says of the plug-in that it was given: its name, and the file whose code that ran."""
    module = sys.modules[spec.partition(":")[0]]
    return f"imported {spec} from {getattr(module, '__file__', None) or 'no file'}"


def plug_in(spec: str) -> tuple[type[KVCache], str | None]:
    """The class and the sharing of ``package.module:Class[+cla2]``, as an option names a cache of the user's own."""
    path, plus, sharing = spec.partition("+")
    try:
        sharing_group(sharing if plus else None)
    except ValueError as error:
        raise ValueError(f"no cache at {spec!r}: {error}") from error
    return load(path), sharing if plus else None


def canonical(name: str) -> str:
    """A variant's name with all of its parts."""
    return Variant.parse(name).canonical


def open_model(name: str, weights: str, dtype: str | None = None, device: str = "cpu") -> GPT:
    """A model by its preset or directory. ``weights``: ``shipped``, ``pretrained`` or ``random:<seed>``; with
    ``+int8`` after it, as codes.

    ``dtype`` None keeps the file's.
    """
    kind, _, seed = weights.removesuffix(INT8).partition(":")
    if kind not in ("shipped", "pretrained", "random"):
        raise ValueError(f"unknown weights {weights!r}: known: shipped, pretrained, random:SEED, each also with {INT8}")
    if kind == "random":
        config = GPTConfig.preset(name) if name in PRESETS else checkpoint.read_config(checkpoint.locate(name))
        model = GPT(config, seed=int(seed or 0)).requires_grad_(False)
    else:
        model = GPT.from_pretrained(name)
    model = model.to(device=device, dtype=None if dtype is None else getattr(torch, dtype)).eval()
    return model.quantise() if weights.endswith(INT8) else model
