"""A step's bill item by item: which phase asks for which operations, and which bytes move for it.

The items of a step add up to :meth:`kvgpt.costs.Bill.step`. Beside the products of matrices they count all other
operations on floating-point numbers: one for each number that comes out of an elementwise operation or goes into a
reduction, where LayerNorm, softmax and GELU are written out as their definitions have them. Copies, conversions,
comparisons, masks and integers count nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kvgpt.config import GPTConfig
from kvgpt.costs import ITEM_BYTES, Demand, shared, token_bytes, total
from kvgpt.recipes import STORAGES, Variant

NORM, NORM_A_ROW = 7, 4  # sum, subtract, square, sum, scale, times weight, plus bias; two divisions, epsilon, root
SOFTMAX = 5  # greatest, subtract, exp, sum, divide
SCALE = 1  # of a score, by the root of a head's size
GELU = 9  # in its tanh form
TURN = 3  # of each number of a query or key, by a rotary angle
ANGLES, ANGLES_A_TOKEN = 3, 3  # of a pair of numbers: negate, divide, power; times the position, cos, sin


@dataclass(frozen=True)
class Item:
    """What one part of a step asks for: operations, and bytes that pass through the memory.

    ``products`` are operations of matrix products, attention's among them, ``others`` all other ones. Of the bytes
    ``weights`` and ``stored`` vectors are read, new vectors and logits are ``written``. The least does without what is
    ``again`` read where nothing near the cores has kept it: stored vectors by each layer that shares them, and each
    token's vector and that of its position, of which the head reads all and a batch one.
    """

    phase: str
    products: float = 0
    others: float = 0
    weights: float = 0
    stored: float = 0
    written: float = 0
    again: float = 0

    @property
    def demand(self) -> Demand:
        """Its part of :meth:`kvgpt.costs.Bill.step`: products, and every byte once."""
        return Demand(self.products, self.weights + self.stored + self.written)

    @property
    def streamed(self) -> Demand:
        """The same where nothing is kept from one part of a step to the next."""
        return self.demand + Demand(0, self.again)


@dataclass(frozen=True)
class Step:
    """The items of a step, in the order in which a layer needs them; those of all layers are one."""

    embedding: Item
    projections: Item  # of queries, keys, values and the output, with the norm before and the sum after them
    attending: Item  # vectors are coded, written and read back, scores, softmax, and the sums of values
    mlp: Item
    head: Item

    def __iter__(self) -> Iterator[Item]:
        return iter((self.embedding, self.projections, self.attending, self.mlp, self.head))

    @property
    def demand(self) -> Demand:
        """The least that the step asks for, whole."""
        return total(item.demand for item in self)

    def phase(self, name: str) -> list[Item]:
        """The items of a phase, as ``phase_*`` of a record names it; ``other`` is the host's and has none."""
        return [item for item in self if item.phase == name]

    def seconds(self, flops_a_second: float, bytes_a_second: float) -> float:
        """The least time where attention waits for products with weights and these for attention, and nothing is kept
        between them: no less than the step's own floor, which lets all overlap.
        """
        products = total(item.streamed for item in self if item is not self.attending)
        return sum(part.seconds(flops_a_second, bytes_a_second) for part in (products, self.attending.streamed))


def step(config: GPTConfig, variant: Variant, dtype: str, batch_size: int, held: int, fed: int = 1) -> Step:
    """The items of feeding ``fed`` tokens a row when ``held`` have been seen, of which the last one's logits come out.

    ``config`` is the model's own; the variant's sharing comes on top of it. A cache in codes is taken to read all of a
    layer's vectors back, as its plain definition does; kernels that scale scores instead do a fraction of that.
    """
    config, kept, item = shared(config, variant), STORAGES[variant.storage], ITEM_BYTES[dtype]
    if variant.recomputes:
        held, fed = 0, held + fed
    C, L, D = config.n_embd, config.n_layer, config.head_dim
    K, V, owners, B = config.kv_heads * D, config.vocab_size, config.n_slot, batch_size
    tokens, rotary = B * fed, config.n_position is None
    pairs = B * (fed * held + fed * (fed + 1) / 2)  # of a query and a key that it may see
    norm = NORM * C + NORM_A_ROW
    a_token = token_bytes(config, variant.storage, dtype)
    codes = [width for width in (kept.keys, kept.values) if width.bits]
    coding = sum(width.encoding * D + width.scaling for width in codes)  # operations on a vector that is written
    reading = sum(width.decoding * D for width in codes)
    angles = D // 2 * (ANGLES + ANGLES_A_TOKEN * fed)
    return Step(
        embedding=Item(
            "embedding", others=angles if rotary else tokens * C, again=tokens * C * item * (1 if rotary else 2)
        ),
        projections=Item(
            "attention",
            products=2 * tokens * (L * 2 * C * C + owners * 2 * C * K),
            others=tokens * (L * (norm + 3 * C) + owners * 2 * K + (TURN * (L * C + owners * K) if rotary else 0)),
            weights=item * (L * (2 * C + 2 * (C * C + C)) + owners * 2 * (C * K + K)),
        ),
        attending=Item(
            "attention",
            products=4 * C * L * pairs,
            others=(SCALE + SOFTMAX) * config.n_head * L * pairs
            + tokens * owners * config.kv_heads * coding
            + B * (held + fed) * L * config.kv_heads * reading,
            stored=B * held * a_token,
            written=B * fed * a_token,
            again=B * held * a_token // owners * (L - owners),
        ),
        mlp=Item(
            "mlp",
            products=2 * tokens * L * 2 * C * config.inner,
            others=tokens * L * (norm + (1 + GELU) * config.inner + 2 * C),
            weights=item * L * (2 * C + 2 * C * config.inner + config.inner + C),
        ),
        head=Item("head", 2 * B * V * C, B * norm, weights=item * (V * C + 2 * C), written=B * V * item),
    )


def generation(config: GPTConfig, variant: Variant, dtype: str, batch_size: int, new_tokens: int) -> Iterable[Step]:
    """The steps that generate ``new_tokens`` after a prompt of one."""
    return (step(config, variant, dtype, batch_size, held) for held in range(new_tokens))
