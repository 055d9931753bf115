"""Int4Cache: codes of 4 bits, an fp16 scale and an fp16 minimum for each (token, head)."""

from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.quantised import CodedCache


class Int4Cache(CodedCache):
    """Decodes from the codes: see :mod:`kvgpt.caches.codecs.int4` for what they are."""

    keys = values = Int4
    kernels = "int4"
