"""GPTConfig: the sizes of a GPT-2, and which layer owns the keys and values that a layer attends to.

Sizes of the published models: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
Sharing keys and values across layers: Brandon et al. 2024, arXiv 2405.12981.
"""

import re
from dataclasses import dataclass
from typing import Any

NANO = {"n_layer": 8, "n_head": 2, "n_embd": 128, "vocab_size": 257, "block_size": 256}
PRESETS: dict[str, dict[str, Any]] = {
    "nano": NANO,
    "nano-rotary": {**NANO, "position_embedding": "rotary"},
    "nano-cla2": {**NANO, "sharing": "cla2"},
    "nano-cla4": {**NANO, "sharing": "cla4"},
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}
POSITION_EMBEDDINGS = ("learned", "rotary")
SHIPPED = ("nano", "nano-rotary", "nano-cla2", "nano-cla4")  # whose trained checkpoints come with the package
SISTERS = {"nano": ("nano-cla2", "nano-cla4")}  # trained the same way, with shared keys and values
ALIGNMENTS = {"qalign": "q", "calign": "kv"}  # as part of a variant's name -> the kind that kvgpt.align fits
INT8 = "+int8"  # what a name of weights ends with that are int8 codes, as in "shipped+int8"
LARGEST_FIELD = 2**20  # no field of a GPT-2 comes near; a corrupt config.json must not ask for terabytes


def sharing_group(sharing: str | None) -> int:
    """The number of layers that share one layer's keys and values: 1 for None, k for ``cla<k>``."""
    if sharing is None:
        return 1
    match = re.fullmatch(r"cla([2-9]|[1-9][0-9])", sharing) if isinstance(sharing, str) else None
    if match is None:
        raise ValueError(f"unknown sharing {sharing!r}: use None, or 'cla2' to 'cla99' for groups of that many layers")
    return int(match[1])


@dataclass(frozen=True)
class GPTConfig:
    """The shape of the function that a GPT-2 computes.

    ``sharing`` is None or ``cla<k>``: the first layer of each group of k owns the keys and values of the group.
    ``align`` is None, ``qalign``: the followers' query weights were fitted to their owners' keys, or ``calign``: their
    query and output weights were fitted to their owners' keys and values.
    ``position_embedding`` is ``learned``, with a vector for each of ``block_size`` positions, or ``rotary``, where
    ``block_size`` is the length trained on and no position is the last. ``n_inner`` is the width of an MLP's hidden
    layer, None for ``4 * n_embd``.

    ValueError names the field that is out of range, or that does not go with another.
    """

    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    vocab_size: int = 50257
    block_size: int = 1024
    n_kv_head: int | None = None
    position_embedding: str = "learned"
    sharing: str | None = None
    align: str | None = None
    n_inner: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_layer", "n_head", "n_embd", "vocab_size", "block_size"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= LARGEST_FIELD:
                raise ValueError(f"{name}={value!r}: must be a whole number from 1 to {LARGEST_FIELD}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} is not a multiple of n_head={self.n_head}")
        for name in ("n_kv_head", "n_inner"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 1 <= value <= LARGEST_FIELD):
                raise ValueError(f"{name}={value!r}: must be None or a whole number from 1 to {LARGEST_FIELD}")
        if self.n_head % self.kv_heads:
            raise ValueError(f"n_head={self.n_head} is not a multiple of n_kv_head={self.n_kv_head}")
        if self.position_embedding not in POSITION_EMBEDDINGS:
            known = ", ".join(map(repr, POSITION_EMBEDDINGS))
            raise ValueError(f"position_embedding={self.position_embedding!r}: known: {known}")
        if self.position_embedding == "rotary" and self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim}: rotary positions turn pairs of numbers, so it must be even")
        if self.align not in (None, *ALIGNMENTS):
            raise ValueError(f"align={self.align!r}: known: None, {', '.join(map(repr, ALIGNMENTS))}")
        if self.align is not None and self.sharing is None:
            raise ValueError(f"align={self.align!r} needs a sharing: it fits followers to their owners")
        sharing_group(self.sharing)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "GPTConfig":
        """A published size by name, with fields overridden. ValueError lists the names that are known."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}: known: {', '.join(PRESETS)}")
        fields: dict[str, Any] = {**PRESETS[name], **overrides}
        return cls(**fields)

    @property
    def n_position(self) -> int | None:
        """Positions that the model can tell apart; None where there is no last one."""
        return self.block_size if self.position_embedding == "learned" else None

    @property
    def head_dim(self) -> int:
        """D: the numbers of a head's query, key or value."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values: fewer than ``n_head`` under grouped-query attention."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def inner(self) -> int:
        """The width of an MLP's hidden layer."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def owners(self) -> tuple[int, ...]:
        """The layer whose keys and values each layer attends to; a short last group still has an owner."""
        group = sharing_group(self.sharing)
        return tuple(layer - layer % group for layer in range(self.n_layer))

    @property
    def slots(self) -> tuple[int, ...]:
        """Each layer's place in a cache, which counts owners only."""
        order = {owner: slot for slot, owner in enumerate(sorted(set(self.owners)))}
        return tuple(order[owner] for owner in self.owners)

    @property
    def n_slot(self) -> int:
        """Layers that own keys and values: as many as a cache has places for."""
        return len(set(self.owners))
