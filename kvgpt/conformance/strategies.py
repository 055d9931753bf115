"""What is drawn: configs, models whose logits vary, prompts, and every way of cutting them. Nowhere else."""

import itertools

import torch
from hypothesis import strategies as st
from torch import Tensor

from kvgpt.config import GPTConfig
from kvgpt.model import GPT

VOCABULARY = 31
LONGEST = 24


def configs(max_layers: int = 4) -> st.SearchStrategy[GPTConfig]:
    """Small models: odd depths and head sizes, grouped-query attention among them."""

    def build(n_layer: int, kv: int, groups: int, head_dim: int) -> GPTConfig:
        heads = kv * groups
        return GPTConfig(
            n_layer=n_layer,
            n_head=heads,
            n_embd=heads * head_dim,
            vocab_size=VOCABULARY,
            block_size=LONGEST,
            n_kv_head=None if groups == 1 else kv,
        )

    return st.builds(
        build, st.integers(1, max_layers), st.integers(1, 3), st.sampled_from([1, 1, 2]), st.sampled_from([2, 5, 8, 16])
    )


def plain_configs(max_layers: int = 4) -> st.SearchStrategy[GPTConfig]:
    """As :func:`configs`, without grouped-query attention: what Hugging Face's GPT-2 can be."""
    return configs(max_layers).filter(lambda config: config.n_kv_head is None)


def wide_configs(max_layers: int = 4) -> st.SearchStrategy[GPTConfig]:
    """As :func:`configs`, at least 16 wide: a layer norm over a few numbers magnifies one rounding without bound, and
    then no dtype's error is typical of it.
    """
    return configs(max_layers).filter(lambda config: config.n_embd >= 16)


seeds = st.integers(0, 2**31 - 1)
lengths = st.integers(1, LONGEST)
batches = st.integers(1, 3)


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[int]:
    """Sizes of the chunks that a prompt of ``length`` tokens is fed in, one token at a time among them."""
    edges = draw(st.sets(st.integers(1, max(1, length - 1)), max_size=length))
    marks = [0, *sorted(edge for edge in edges if edge < length), length]
    return [after - before for before, after in itertools.pairwise(marks)]


def model(config: GPTConfig, seed: int, dtype: torch.dtype = torch.float64) -> GPT:
    """A model with weights of unit gain: GPT-2's own initial ones leave the logits nearly constant and hide bugs."""
    made = GPT(config, seed=0).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in made.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if name.endswith(("ln_1.weight", "ln_2.weight")) or name == "ln_f.weight":
            drawn = 1 + 0.2 * drawn
        elif parameter.dim() == 1:
            drawn = 0.2 * drawn
        elif name not in ("wte.weight", "wpe.weight"):
            drawn = drawn / parameter.size(1) ** 0.5
        parameter.data = drawn.to(dtype)
    return made


def ids(batch: int, length: int, seed: int, vocab_size: int = VOCABULARY) -> Tensor:
    """(batch, length) int64."""
    return torch.randint(vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


@st.composite
def awkward_rows(draw: st.DrawFn) -> Tensor:
    """Vectors that quantisers get wrong: (rows, D) float64, within what fp16 scales hold as normal numbers."""
    size = draw(st.sampled_from([1, 2, 3, 7, 16, 63, 64, 65]))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row = torch.randn(size, generator=torch.Generator().manual_seed(draw(seeds)), dtype=torch.float64)
        kind = draw(
            st.sampled_from(["plain", "zero", "negative zero", "constant", "outlier", "offset", "far", "small"])
        )
        match kind:
            case "zero":
                row = torch.zeros(size, dtype=torch.float64)
            case "negative zero":
                row[:: max(1, size // 2)] = -0.0
            case "constant":
                row = torch.full((size,), draw(st.sampled_from([-3.0, 0.1, 7.0])), dtype=torch.float64)
            case "outlier":
                row[draw(st.integers(0, size - 1))] = 1000.0 * draw(st.sampled_from([-1.0, 1.0]))
            case "offset":
                row = row + 10.0
            case "far":
                row = row + 1e4
            case "small":
                row = row * 0.02 + 0.02
        rows.append(row)
    return torch.stack(rows)
