"""Closed forms: what a model and a cache cost, from their shapes alone. Measured figures are held to these."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from kvgpt.config import GPTConfig
from kvgpt.recipes import STORAGES, Variant, Width

ITEM_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def parameters(config: GPTConfig, ranks: int = 1) -> int:
    """Numbers that a model of this config holds; the head is the token embedding's.

    Of a model split over ``ranks``, those of one: it has all of the embeddings, of the norms and of the biases that are
    added to sums over ranks.
    """
    C, L = config.n_embd, config.n_layer
    kv = 2 * config.kv_heads * config.head_dim
    embeddings = (config.vocab_size + (config.n_position or 0)) * C
    norms, sums = (2 * L + 1) * 2 * C, L * 2 * C
    attention = L * (2 * C * C + C) + config.n_slot * (C * kv + kv)  # queries and output; keys and values of owners
    mlp = L * (2 * C * config.inner + config.inner)
    return embeddings + norms + sums + (attention + mlp) // ranks


def matrices(config: GPTConfig) -> int:
    """Numbers in the weight matrices of all layers: what a token is multiplied with before the head."""
    C, L = config.n_embd, config.n_layer
    return L * 2 * C * (C + config.inner) + config.n_slot * 2 * C * config.kv_heads * config.head_dim


def weights_bytes(config: GPTConfig, dtype: str, ranks: int = 1, coded: bool = False) -> int:
    """Bytes of the parameters in ``dtype``, or of those of one of ``ranks``. With ``coded`` weights, which are not
    split, matrices and embedding take a byte a number, and a scale in ``dtype`` for each output channel.
    """
    item, kv = ITEM_BYTES[dtype], 2 * config.kv_heads * config.head_dim
    if not coded:
        return parameters(config, ranks) * item
    codes = matrices(config) + config.vocab_size * config.n_embd
    channels = config.n_layer * (3 * config.n_embd + config.inner) + config.n_slot * kv + config.vocab_size
    return parameters(config) * item - codes * (item - 1) + channels * item


def cache_bytes(config: GPTConfig, variant: Variant, batch_size: int, length: int, dtype: str) -> int:
    """Bytes that a cache of ``length`` tokens holds: codes and scales, K and V, for the layers that own them.

    ``config`` is the model's own; the variant's sharing comes on top of it.
    """
    return batch_size * length * token_bytes(shared(config, variant), variant.storage, dtype)


def shared(config: GPTConfig, variant: Variant) -> GPTConfig:
    """The config of the model that computes this variant's function."""
    return GPTConfig(**{**vars(config), "sharing": variant.sharing or config.sharing, "align": None})


def token_bytes(config: GPTConfig, storage: str, dtype: str) -> int:
    """Bytes that a storage holds of one token of a sequence: codes and scales, K and V, of all owning layers."""
    kept = STORAGES[storage]
    vectors = sum(vector_bytes(config.head_dim, width, dtype) for width in (kept.keys, kept.values))
    return config.n_slot * config.kv_heads * vectors


def vector_bytes(head_dim: int, width: Width, dtype: str) -> int:
    """Bytes of one (token, head) of K or of V: whole ones, however few bits a number takes."""
    bits = 8 * ITEM_BYTES[dtype] if width.bits is None else width.bits
    return (head_dim * bits + width.scale_bits + 7) // 8


@dataclass(frozen=True)
class Demand:
    """The least that a step must do: floating-point operations, and bytes that pass through the memory."""

    flops: float
    bytes: float

    def __add__(self, other: Self) -> "Demand":
        return Demand(self.flops + other.flops, self.bytes + other.bytes)

    def seconds(self, flops_a_second: float, bytes_a_second: float) -> float:
        """The least time in which a device of these rates can do it; operations and traffic overlap at best."""
        return max(self.flops / flops_a_second, self.bytes / bytes_a_second)


@dataclass(frozen=True)
class Bill:
    """What steps ask for, of a model whose config has its sharing, in ``dtype`` and for a batch.

    ``token_bytes`` are held of each token of a sequence; where a cache ``recomputes``, every step starts from nothing.
    Of a model split over ``ranks``, the least that one of them must do: what several hold comes on top.
    Weights may be ``coded``, see :func:`weights_bytes`.
    """

    config: GPTConfig
    dtype: str
    batch_size: int
    token_bytes: int
    recomputes: bool = False
    ranks: int = 1
    coded: bool = False

    def step(self, held: int, fed: int = 1) -> Demand:
        """Feed ``fed`` tokens a row when ``held`` have been seen; the logits of the last position come out.

        Every weight is read once, every stored vector once even where layers share it, new ones are written once, and
        activations never leave the caches near the cores: so no kernel can do with less.
        """
        config, item = self.config, ITEM_BYTES[self.dtype]
        if self.recomputes:
            held, fed = 0, held + fed
        head = config.vocab_size * config.n_embd
        pairs = fed * held + fed * (fed + 1) / 2  # of a query and a key that it may see
        flops = 2 * matrices(config) * fed + 2 * head + 4 * config.n_embd * config.n_layer * pairs
        weights = weights_bytes(config, self.dtype, coded=self.coded) - (config.n_position or 0) * config.n_embd * item
        read = weights + self.batch_size * held * self.token_bytes
        written = self.batch_size * (fed * self.token_bytes + config.vocab_size * item)
        return Demand(self.batch_size * flops / self.ranks, (read + written) / self.ranks)

    def generation(self, new_tokens: int) -> list[Demand]:
        """The steps that generate ``new_tokens`` after a prompt of one."""
        return [self.step(held) for held in range(new_tokens)]

    def working_set(self, length: int) -> int:
        """Bytes that a step reads when ``length`` tokens are held."""
        whole = weights_bytes(self.config, self.dtype, coded=self.coded) + self.batch_size * length * self.token_bytes
        return whole // self.ranks


def bill(
    config: GPTConfig, variant: Variant | None, dtype: str, batch_size: int, ranks: int = 1, coded: bool = False
) -> Bill:
    """The bill of a variant on a model; of None, a cache whose bytes nobody knows, as if it held nothing."""
    if variant is None:
        return Bill(config, dtype, batch_size, token_bytes=0, ranks=ranks, coded=coded)
    computed = shared(config, variant)
    kept = token_bytes(computed, variant.storage, dtype)
    return Bill(computed, dtype, batch_size, kept, variant.recomputes, ranks, coded)


@dataclass(frozen=True)
class Wire:
    """What one of ``ranks`` exchanges with the others in a step, in rings: as many bytes come in as go out.

    ``sums`` all-reduces of ``summed`` bytes each, one after the other, then an all-gather of ``gathered`` bytes in all.
    """

    ranks: int
    sums: int
    summed: int
    gathered: int

    @property
    def collectives(self) -> int:
        """That wait for each other."""
        return self.sums + 1 if self.ranks > 1 else 0

    @property
    def sent(self) -> float:
        """Bytes that each rank sends: an all-reduce passes each part round twice, an all-gather once."""
        return (2 * self.sums * self.summed + self.gathered) * (self.ranks - 1) / self.ranks


def wire(config: GPTConfig, dtype: str, batch_size: int, ranks: int, fed: int = 1) -> Wire:
    """The exchange of a step that feeds ``fed`` tokens a row and makes the last position's logits; see
    :mod:`kvgpt.parallel`.
    """
    item, rows = ITEM_BYTES[dtype], -(-config.vocab_size // ranks)
    summed = batch_size * fed * config.n_embd * item
    return Wire(ranks, 2 * config.n_layer, summed, batch_size * ranks * rows * item)


def training_step(config: GPTConfig, dtype: str, batch_size: int, length: int) -> Demand:
    """The least that a step of AdamW asks for: each product forward and twice backward, logits at every position.

    The weights are read in both directions; they, their gradients and two moments are read and written by the update.
    """
    tokens = batch_size * length
    products = 2 * (matrices(config) + config.vocab_size * config.n_embd)
    attention = 4 * config.n_embd * config.n_layer * (length + 1) / 2  # a token, on average
    return Demand(3 * tokens * (products + attention), 9 * weights_bytes(config, dtype))


def total(demands: Iterable[Demand]) -> Demand:
    """The sum of many steps."""
    return sum(demands, Demand(0, 0))
