"""A transformers config from a cache's shape."""

from typing import Any

from kvgpt.caches.base import KVShape


def model_config(shape: KVShape, **more: Any) -> Any:
    """The ``PreTrainedConfig`` of a model that a cache of this shape serves; ``more`` are further fields of it."""
    from transformers import PreTrainedConfig

    fields = {
        "num_hidden_layers": shape.n_layer,
        "num_attention_heads": shape.n_head,
        "num_key_value_heads": shape.n_head,
        "head_dim": shape.head_dim,
        "hidden_size": shape.n_head * shape.head_dim,
        "max_position_embeddings": shape.max_length,
    }
    return PreTrainedConfig(**(fields | more))
