"""K8V4Cache: keys in 8 bits and values in 4, because an error in a key moves all of a token's weight."""

from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.codecs.int8 import Int8
from kvgpt.caches.quantised import CodedCache


class K8V4Cache(CodedCache):
    """Keys as in ``int8``, values as in ``int4``."""

    keys, values = Int8, Int4
