"""Closed forms of what is allocated beside weights and cache while a step runs, and so of how many sequences fit.

Counted is what grows with the batch, at the worst moment of a step of this model in plain PyTorch, with an attention
kernel that keeps no scores unless they are asked for. Left out are masks, the scratch of kernels, and the copies by
which a cache grows.

Shapes: n tokens fed, S attended over, C = n_embd, K = the width of all key heads, V vocab_size. Bytes are of one
sequence.
"""

from dataclasses import dataclass

from kvgpt.config import GPTConfig
from kvgpt.costs import ITEM_BYTES, shared, token_bytes, weights_bytes
from kvgpt.recipes import STORAGES, Variant, Width

CHUNK = 64  # tokens of a prompt that are fed at once: what a step allocates stays small


@dataclass(frozen=True)
class Need:
    """Bytes that a load needs: ``fixed`` whatever the batch and for each sequence ``peak``, of which it holds ``held``
    for certain; and never fewer than ``least`` in all.
    """

    fixed: int
    held: int
    peak: int
    least: int = 0

    def predicted(self, budget: int) -> int:
        """How many sequences fit into ``budget`` bytes."""
        return 0 if self.least > budget else max(0, (budget - self.fixed) // self.peak)

    def bound(self, budget: int) -> int | None:
        """How many there can be at most, whatever a step allocates; None where a sequence holds nothing."""
        return max(0, (budget - self.fixed) // self.held) if self.held else None

    def room(self, sequences: int) -> int:
        """A budget for so many sequences, and half of one to spare."""
        return max(self.least, self.fixed + sequences * self.peak + self.peak // 2)


def last_chunk(context: int) -> int:
    """Tokens of the last chunk that a prompt of ``context`` - 1 is fed in."""
    return min(CHUNK, context - 1)


def serving(config: GPTConfig, variant: Variant, dtype: str, context: int, chunk: int, coded: bool = False) -> Need:
    """Weights or their codes, the cache of ``context`` tokens, and the worse of two steps: the last ``chunk`` of the
    prompt, and the last token. Where nothing is kept, all tokens are fed at once.
    """
    computed = shared(config, variant)
    cache = context * token_bytes(computed, variant.storage, dtype)
    steps = [(0, context)] if not cache else [(context - 1 - chunk, chunk), (context - 1, 1)]
    worst = max(step(computed, variant, dtype, held, fed) for held, fed in steps)
    return Need(weights_bytes(computed, dtype, coded=coded), cache, cache + worst)


def step(config: GPTConfig, variant: Variant, dtype: str, held: int, fed: int) -> int:
    """The most that a step of ``fed`` tokens allocates after ``held`` ones, in one of three phases:

    - attention: x, its norm, its projection (n, C + 2K), and the worst of writing the new vectors, reading the old ones
      and attending over them;
    - MLP: the x before and after attention, the norm, and the hidden (n, 4C) before and after its activation: 11 nC;
    - head: x, and the last position's norm and logits.

    Codes are written from a stack of K and V and their quotients by the scale; :func:`_reading` has the rest. K and V
    of one width are written and read together, others one after the other. Until the next layer has its own, an
    uncached step holds the layer's (n, 2K), a window all that it attends over: beside it are either the layer's before,
    or what is written, or the result. Attention that is written out keeps its scores twice.
    """
    item, wide = ITEM_BYTES[dtype], max(ITEM_BYTES[dtype], ITEM_BYTES["float32"])
    storage, tokens, width = STORAGES[variant.storage], held + fed, config.kv_heads * config.head_dim
    new, old = 2 * fed * width, 2 * tokens * width  # numbers of K and V
    banded = variant.window and fed > 1  # one token attends over what is stored, as without a window
    stored = held if banded else tokens  # a band is read before it is written
    seen = item * (new if variant.recomputes else old if banded else 0)
    x = fed * config.n_embd * item
    write = read = copy = 0
    if storage.keys.bits:
        sides = [(storage.keys, 2)] if storage.keys == storage.values else [(storage.keys, 1), (storage.values, 1)]
        most = max(count for _, count in sides)
        write = new * item + most * fed * width * (wide * (1 + (wide > item)) + 1)
        done = 0
        for side, count in sides:
            read = max(read, done + count * stored * _reading(side, width, config.kv_heads, item, wide))
            done += count * stored * width * item
        copy = old * item
    scores = 2 * config.n_head * fed * tokens * item if variant.attention == "matmul" else 0
    if banded:
        attending = seen + max(new * item + read, copy + max(seen, write, scores + x))
    else:
        attending = seen + max(write, read, copy + seen + scores + x)
    attention = 3 * x + new * item + attending
    mlp = 3 * x + 2 * fed * config.inner * item + seen
    head = x + (config.n_embd + config.vocab_size) * item
    return max(attention, mlp, head)


def _reading(kept: Width, width: int, heads: int, item: int, wide: int) -> int:
    """The most that reading a token's codes back allocates: the wide copies of its scales, and a wide copy of the codes
    and its product with them. Codes that share bytes are unpacked first, and their copy is scaled in place: beside it
    are either the unpacked ones or the result in the model's dtype.
    """
    numbers = wide + max(1, item * (item < wide)) if kept.packed else 2 * wide
    return width * numbers + heads * kept.scale_bits // 16 * wide


def training(config: GPTConfig, dtype: str, context: int) -> Need:
    """Weights and two moments, and of each token what the backward pass needs; where it begins, the logits three times:
    their log-softmax and two gradients, the most of all while they are wider than the MLP's hidden. Where it ends there
    are all gradients, and the embedding's twice more.

    A layer saves its two inputs, their norms, the queries, the attention's output and the hidden of the MLP before and
    after its activation, 6 C and twice the hidden's width in all, an owner its projected keys and values and the copies
    of them that were attended over, 4 K; rotary positions make that 7 C, for an output that must be copied, and 2 K.
    The embedded tokens and the last norm are 2 C more; norms and attention keep statistics in float32.
    """
    item, weights = ITEM_BYTES[dtype], weights_bytes(config, dtype)
    wide = max(item, ITEM_BYTES["float32"])
    of_layer, of_owner = (6, 4) if config.n_position else (7, 2)
    layer = of_layer * config.n_embd + 2 * config.inner
    layers = config.n_layer * layer + of_owner * config.n_slot * config.kv_heads * config.head_dim
    statistics = 2 * (2 * config.n_layer + 1) + config.n_layer * config.n_head
    saved = (layers + 2 * config.n_embd) * item + statistics * wide
    logits, embedding = config.vocab_size * item, config.vocab_size * config.n_embd * item
    return Need(
        fixed=3 * weights,
        held=context * (saved + logits),
        peak=context * (saved + 3 * logits),
        least=4 * weights + 2 * embedding,
    )
