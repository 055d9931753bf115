"""Closed forms: what a model and a cache cost, from their shapes alone. Measured figures are held to these."""

from kvgpt.config import GPTConfig
from kvgpt.recipes import STORAGES, Variant

ITEM_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def parameters(config: GPTConfig) -> int:
    """Numbers that a model of this config holds; the head is the token embedding's."""
    C, L = config.n_embd, config.n_layer
    kv = 2 * config.kv_heads * config.head_dim
    embeddings = (config.vocab_size + (config.n_position or 0)) * C
    norms = (2 * L + 1) * 2 * C
    attention = L * 2 * (C * C + C) + config.n_slot * (C * kv + kv)  # queries and output; keys and values of owners
    mlp = L * (8 * C * C + 5 * C)
    return embeddings + norms + attention + mlp


def weights_bytes(config: GPTConfig, dtype: str) -> int:
    """Bytes of the parameters in ``dtype``."""
    return parameters(config) * ITEM_BYTES[dtype]


def cache_bytes(config: GPTConfig, variant: Variant, batch_size: int, length: int, dtype: str) -> int:
    """Bytes that a cache of ``length`` tokens holds: codes and scales, K and V, for the layers that own them.

    ``config`` is the model's own; the variant's sharing comes on top of it.
    """
    storage = STORAGES[variant.storage]
    if storage.bits == 0:
        return 0
    shared = GPTConfig(**{**vars(config), "sharing": variant.sharing or config.sharing, "align": None})
    bits = 8 * ITEM_BYTES[dtype] if storage.bits is None else storage.bits
    vector = (config.head_dim * bits + storage.scale_bits + 7) // 8  # bytes of one (token, head) of K or of V
    return 2 * shared.n_slot * batch_size * config.kv_heads * length * vector
