"""Fp8Cache: codes in e4m3, one fp16 scale for each (token, head)."""

from kvgpt.caches.codecs.fp8 import Fp8
from kvgpt.caches.quantised import CodedCache


class Fp8Cache(CodedCache):
    """Decodes from the codes: see :mod:`kvgpt.caches.codecs.fp8` for what they are."""

    keys = values = Fp8
