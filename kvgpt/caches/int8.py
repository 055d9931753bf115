"""Int8Cache: symmetric codes of 8 bits, one fp16 scale for each (token, head) (variant v2)."""

from kvgpt.caches.codecs.int8 import Int8
from kvgpt.caches.quantised import CodedCache, QuantisedCache


class UnfusedInt8Cache(QuantisedCache):
    """Attends over a dequantised copy of the whole cache; kept to show what fusing buys."""

    keys = values = Int8


class Int8Cache(CodedCache):
    """Decodes from the codes: see :mod:`kvgpt.caches.codecs.int8` for what they are."""

    keys = values = Int8
    kernels = "int8"
