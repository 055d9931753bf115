"""kvgpt: the test-and-measurement suite for KV caches. Importing it imports no torch: names load when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvgpt.alignment import align as align
    from kvgpt.caches.base import KVCache as KVCache
    from kvgpt.caches.base import KVShape as KVShape
    from kvgpt.caches.base import Unsupported as Unsupported
    from kvgpt.config import GPTConfig as GPTConfig
    from kvgpt.conformance import check_cache as check_cache
    from kvgpt.engine import Engine as Engine
    from kvgpt.model import GPT as GPT
    from kvgpt.recipes import Variant as Variant
    from kvgpt.recipes import variants as variants

__version__ = "0.1.0"

_HOME = {
    "GPT": "kvgpt.model",
    "GPTConfig": "kvgpt.config",
    "Engine": "kvgpt.engine",
    "KVCache": "kvgpt.caches.base",
    "KVShape": "kvgpt.caches.base",
    "Unsupported": "kvgpt.caches.base",
    "Variant": "kvgpt.recipes",
    "variants": "kvgpt.recipes",
    "align": "kvgpt.alignment",
    "check_cache": "kvgpt.conformance",
}
__all__ = sorted(_HOME)  # noqa: PLE0605 - the table above is the list


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kvgpt' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
