"""From a number of parameters to a model and its schedule, by published rules.

- Shape: heads of 64 numbers, or 32 in the smallest, and a width of about 64 a layer, as GPT-2 (124M) has: within a wide
  range the shape hardly matters (Kaplan et al. 2020, arXiv 2001.08361, figure 5).
- Tokens: 20 a parameter (Hoffmann et al. 2022, arXiv 2203.15556), but no text more than 16 times: up to 4 times is
  nearly as good as new text, beyond 16 hardly anything is gained (Muennighoff et al. 2023, arXiv 2305.16264).
- Learning rate: 0.003239 - 0.0001395 ln N, of N parameters without embeddings (Kaplan, equation D.1): 7e-4 for GPT-2
  (124M), where GPT-3 (125M) has 6e-4; 1e-3 for nanoGPT's Shakespeare by character, which has 1e-3.
- Batch: at most the critical one of Kaplan's equations 1.1 and 1.4 at the loss that this size comes to, at most GPT-3's
  half a million tokens (Brown et al. 2020, arXiv 2005.14165, table 2.1), and small enough for 2,000 steps.
- The rest is GPT-3's: a cosine down to a tenth, weight decay 0.1, beta2 0.95, or 0.99 where a batch is small (nanoGPT).
"""

import math
from dataclasses import dataclass

from kvgpt import costs
from kvgpt.config import GPTConfig
from kvgpt.training.schedule import Schedule

ASPECT = 64  # numbers of width a layer
SHALLOWEST = 2  # layers
HEADS = {32: 256, 64: 12288}  # numbers of a head -> the widest model that may have such; the last is GPT-3's
SMALLEST, LARGEST = 100_000, 10_000_000_000  # parameters: the rule of the learning rate ends near the second
CLOSE = 0.15  # of the parameters asked for, more or fewer
TOKENS_A_PARAMETER = 20
REPEATS = 16
STEPS = 2000
BATCH_TOKENS = 2**19
SMALL_BATCH = 2**16  # tokens
UTILISATION = 0.4  # of a device's rate that training reaches; nanoGPT and PaLM report 0.3 to 0.5
MICRO_BATCH = {"cpu": 4096, "cuda": 16384}  # tokens that go through the model at once


@dataclass(frozen=True)
class Plan:
    """A model, its schedule, and why."""

    config: GPTConfig
    schedule: Schedule
    parameters: int
    tokens: int
    operations: float


def shape(parameters: int, vocab_size: int, block_size: int) -> GPTConfig:
    """The GPT-2 whose parameters come closest to a number, of a usual shape; ValueError where none comes close."""
    if not SMALLEST <= parameters <= LARGEST:
        raise ValueError(f"{parameters:,} parameters: the rules are for {SMALLEST:,} to {LARGEST:,}")
    usual = [
        (n_embd, head_dim)
        for head_dim, widest in HEADS.items()
        for n_embd in range(head_dim, widest + 1, head_dim)
        if n_embd == head_dim or 12 * n_embd**2 <= parameters  # the matrices of one layer
    ]
    configs = [_deepened(parameters, n_embd, n_embd // dim, vocab_size, block_size) for n_embd, dim in usual]

    def off(config: GPTConfig) -> float:
        return abs(math.log(costs.parameters(config) / parameters))

    close = [config for config in configs if off(config) <= CLOSE]
    if not close:
        found = costs.parameters(min(configs, key=off))
        raise ValueError(
            f"{parameters:,} parameters: the closest with {vocab_size:,} tokens and a context of {block_size:,} has "
            f"{found:,}: ask for about as many, for a corpus of bytes, or for a shorter context"
        )
    return min(close, key=lambda config: off(config) + abs(math.log(config.n_embd / config.n_layer / ASPECT)) / 10)


def plan(
    config: GPTConfig,
    device: str = "cpu",
    corpus_tokens: int | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    operations_a_second: float | None = None,
) -> Plan:
    """How to train a model. ``tokens``, or ``seconds`` on a device that does ``operations_a_second`` at best,
    take the place of the rule of tokens.
    """
    block_size = config.block_size
    if seconds is not None:
        if operations_a_second is None:
            raise ValueError("how many operations a second the device does is not known: say tokens, not hours")
        a_token = costs.training_step(config, "float32", 1, block_size).flops / block_size
        tokens = int(seconds * UTILISATION * operations_a_second / a_token)
    elif tokens is None:
        most = math.inf if corpus_tokens is None else REPEATS * corpus_tokens
        tokens = int(min(TOKENS_A_PARAMETER * costs.parameters(config), most))
    if tokens < block_size:
        raise ValueError(f"{tokens:,} tokens are fewer than one context of {block_size:,}: train longer, or less model")
    schedule = _schedule(config, tokens, device)
    trained = schedule.tokens(block_size)
    step = costs.training_step(config, "float32", schedule.batch_size * schedule.accumulate, block_size)
    return Plan(config, schedule, costs.parameters(config), trained, schedule.steps * step.flops)


def learning_rate(inner: int) -> float:
    """Kaplan's rule for ``inner`` parameters, those without embeddings, to two digits."""
    return float(f"{0.003239 - 0.0001395 * math.log(inner):.1e}")


def critical_batch(inner: int) -> float:
    """Tokens of a step beyond which more of them hardly save steps, at the loss that ``inner`` parameters come to."""
    loss = (8.8e13 / inner) ** 0.076
    return 2e8 / loss ** (1 / 0.21)


def batch_tokens(inner: int, tokens: int) -> int:
    """Tokens of a step, a power of two."""
    return int(2 ** math.floor(math.log2(max(1.0, min(BATCH_TOKENS, critical_batch(inner), tokens / STEPS)))))


def _schedule(config: GPTConfig, tokens: int, device: str) -> Schedule:
    inner = costs.matrices(config)
    sequences = max(1, batch_tokens(inner, tokens) // config.block_size)
    batch_size = min(sequences, max(1, MICRO_BATCH[device] // config.block_size))
    accumulate = max(1, sequences // batch_size)
    a_step = batch_size * accumulate * config.block_size
    steps = max(1, tokens // a_step)
    return Schedule(
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate(inner),
        warmup=min(2000, steps // 50),
        final_fraction=0.1,
        weight_decay=0.1,
        betas=(0.9, 0.99 if a_step < SMALL_BATCH else 0.95),
        attention_gain=1.0,
        evaluate_every=max(1, steps // 20),
        checkpoint_every=max(1, steps // 20),
        dtype="bfloat16" if device == "cuda" else "float32",
    )


def _deepened(parameters: int, n_embd: int, n_head: int, vocab_size: int, block_size: int) -> GPTConfig:
    """The model of this width with the number of layers that comes closest."""

    def of(n_layer: int) -> GPTConfig:
        return GPTConfig(n_layer, n_head, n_embd, vocab_size, block_size)

    one, two = costs.parameters(of(1)), costs.parameters(of(2))
    return of(max(SHALLOWEST, round((parameters - one) / (two - one)) + 1))
