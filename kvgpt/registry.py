"""From a variant to the class of its cache and the model that computes its function."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch

from kvgpt import checkpoint
from kvgpt.attention import PATHS
from kvgpt.caches.base import KVCache, KVShape, Storage
from kvgpt.caches.window import over
from kvgpt.config import PRESETS, GPTConfig, sharing_group
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

    def model(self, model: GPT, align: Callable[[GPT, str], GPT]) -> GPT:
        """``model`` computing this recipe's function: sharing applied where it has none, ``align`` called where asked.

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
        return align(model, shares) if self.variant.align and shares else model.share(shares)


def resolve(variant: str | Variant | type[KVCache]) -> Recipe:
    """The recipe of a variant's name, of a Variant, or of a KVCache subclass."""
    if isinstance(variant, type):
        if not issubclass(variant, KVCache):
            raise ValueError(f"{variant.__qualname__} is no subclass of kvgpt.KVCache")
        return Recipe(f"{variant.__module__}:{variant.__qualname__}", variant)
    recipe = Variant.parse(variant) if isinstance(variant, str) else variant
    cache_class = load(STORAGES[recipe.storage].path)
    if recipe.window:
        cache_class = over(cast(type[Storage], cache_class), recipe.sinks)
    return Recipe(recipe.name, cache_class, recipe)


def load(path: str) -> type[KVCache]:
    """The KVCache subclass at ``package.module:Class``. This imports the module, and so runs its code."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"no cache at {path!r}: expected package.module:Class ({error})") from error
    if not (isinstance(found, type) and issubclass(found, KVCache)):
        raise ValueError(f"{path!r} is no subclass of kvgpt.KVCache")
    return found


def plug_in(spec: str) -> tuple[type[KVCache], str | None]:
    """The class and the sharing of ``package.module:Class[+cla2]``, as an option names a cache of the user's own."""
    path, plus, sharing = spec.partition("+")
    sharing_group(sharing if plus else None)
    return load(path), sharing if plus else None


def canonical(name: str) -> str:
    """A variant's name with all of its parts."""
    return Variant.parse(name).canonical


def open_model(name: str, weights: str, dtype: str | None = None, device: str = "cpu") -> GPT:
    """A model by its preset or directory. ``weights``: ``shipped``, ``pretrained`` or ``random:<seed>``.

    ``dtype`` None keeps the file's.
    """
    kind, _, seed = weights.partition(":")
    if kind == "random":
        config = GPTConfig.preset(name) if name in PRESETS else checkpoint.read_config(checkpoint.locate(name))
        model = GPT(config, seed=int(seed or 0)).requires_grad_(False)
    else:
        model = GPT.from_pretrained(name)
    return model.to(device=device, dtype=None if dtype is None else getattr(torch, dtype)).eval()
