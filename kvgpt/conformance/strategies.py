"""What is drawn: configs, models whose logits vary, prompts, and every way of cutting them. Nowhere else."""

import itertools
from collections.abc import Callable, Collection
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from kvgpt.config import GPTConfig
from kvgpt.conformance.scene import LONGEST, VOCABULARY, Op, Scene
from kvgpt.conformance.stretches import begun, reachable
from kvgpt.model import GPT

WIDE = 32  # numbers of a token in low dtypes


def configs(max_layers: int = 4) -> st.SearchStrategy[GPTConfig]:
    """Small models: odd depths, head sizes and widths, grouped-query attention among them."""

    def build(n_layer: int, kv: int, groups: int, head_dim: int, n_inner: int | None) -> GPTConfig:
        heads = kv * groups
        return GPTConfig(
            n_layer=n_layer,
            n_head=heads,
            n_embd=heads * head_dim,
            vocab_size=VOCABULARY,
            block_size=LONGEST,
            n_kv_head=None if groups == 1 else kv,
            n_inner=n_inner,
        )

    sizes = st.sampled_from([2, 5, 8, 16, 32])
    inner = st.sampled_from([None, None, 48])
    return st.builds(build, st.integers(1, max_layers), st.integers(1, 3), st.sampled_from([1, 1, 2]), sizes, inner)


def plain_configs(max_layers: int = 4) -> st.SearchStrategy[GPTConfig]:
    """As :func:`configs`, without grouped-query attention: what Hugging Face's GPT-2 can be."""
    return configs(max_layers).filter(lambda config: config.n_kv_head is None)


def wide_configs(max_layers: int = 4) -> st.SearchStrategy[GPTConfig]:
    """As :func:`configs`, at least ``WIDE``: a layer norm over a few numbers magnifies one rounding without bound, and
    then no dtype's error is typical of it.
    """
    return configs(max_layers).filter(lambda config: config.n_embd >= WIDE)


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
    made = GPT(config, seed=None)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, parameter in made.state_dict().items():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if name.endswith(("ln_1.weight", "ln_2.weight")) or name == "ln_f.weight":
            drawn = 1 + 0.2 * drawn
        elif parameter.dim() == 1:
            drawn = 0.2 * drawn
        elif name not in ("wte.weight", "wpe.weight"):
            drawn = drawn / parameter.size(1) ** 0.5
        state[name] = drawn.to(dtype)
    return made.assign(state, f"random:{seed}")


def ids(batch: int, length: int, seed: int, vocab_size: int = VOCABULARY) -> Tensor:
    """(batch, length) int64."""
    return torch.randint(vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


ROWS = ("plain", "zero", "negative zero", "constant", "outlier", "offset", "far", "small")


def awkward_row(kind: str, size: int, seed: int) -> Tensor:
    """A vector that quantisers get wrong, (size,) float64, within what fp16 scales hold as normal numbers."""
    row = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if float(row.abs().max()) < 0.25:
        row[0] = 1.0
    match kind:
        case "zero":
            return torch.zeros_like(row)
        case "negative zero":
            row[:: max(1, size // 2)] = -0.0
        case "constant":
            row = torch.full_like(row, (-3.0, 0.1, 7.0)[seed % 3])
        case "outlier":
            row[seed % size] = 1000.0 * (1 - 2 * (seed % 2))
        case "offset":
            row = row + 10.0
        case "far":
            row = row + 1e4
        case "small":
            row = row.abs() * 0.02 + 0.02
    return row


@st.composite
def awkward_rows(draw: st.DrawFn) -> Tensor:
    """(rows, D) float64, each an :func:`awkward_row`."""
    size = draw(st.sampled_from([1, 2, 3, 7, 16, 63, 64, 65]))
    kinds = draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=4))
    return torch.stack([awkward_row(kind, size, draw(seeds)) for kind in kinds])


ALIVE = 3  # caches at most, forks of forks included
PROMPT, MORE = 14, 8  # tokens of a prompt and of what follows; together within LONGEST


@st.composite
def scenes(
    draw: st.DrawFn,
    sharings: Collection[str | None],
    abilities: Collection[str],
    past: bool = False,
    least_room: int = 1,
) -> Scene:
    """Scenes under one of ``sharings``; below float64 they are ``WIDE`` at least, as in :func:`wide_configs`. ``past``
    ones may have rotary positions, or few learned ones and a policy. A window has ``least_room`` places or more.
    """
    kv_heads, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2]))
    sharing = draw(st.sampled_from(sorted(sharings, key=str)))
    block, rotary, positions = draw(_positions(abilities, least_room)) if past else (LONGEST, False, "error")
    sizes = [size for size in (2, 5, 8, 16, 32) if "float64" in abilities or kv_heads * groups * size >= WIDE]
    sizes = [size for size in sizes if not (rotary and size % 2)]  # numbers turn in pairs
    return Scene(
        n_layer=draw(st.integers(1, 4 if sharing else 3)),  # a second group of cla2 has its follower at the fourth
        kv_heads=kv_heads,
        groups=groups,
        head_dim=draw(st.sampled_from(sizes)),
        batch=draw(batches),
        sharing=sharing,
        room=draw(st.integers(least_room, max(least_room, min(12, block)))),
        path=draw(st.sampled_from(["default", "math"])),
        seed=draw(seeds),
        block=block,
        rotary=rotary,
        positions=positions,
    )


@st.composite
def _positions(draw: st.DrawFn, abilities: Collection[str], least: int) -> tuple[int, bool, str]:
    """(block, rotary, policy): as often as not nothing that the positions could end before LONGEST for."""
    kinds = ["error"] * 3 + ["recompute"] * 2 + ["interpolate"]
    kinds += ["shift"] if "window" in abilities else []
    kinds += ["rotary"] * 2 if "aligned" not in abilities else []
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "recompute":
            block = draw(st.integers(max(2, least), max(8, least)))
            return block, False, f"recompute:{draw(st.sampled_from(sorted({1, block // 2, block})))}"
        case "shift":
            block = draw(st.integers(max(3, least), max(8, least)))
            return block, False, f"shift:{draw(st.integers(2, block))}"
        case "interpolate":
            return max(12, least), False, f"interpolate:{draw(st.sampled_from(['2.5', '3', '4']))}"
    return LONGEST, kind == "rotary", "error"


@st.composite
def programs(draw: st.DrawFn, scene: Scene, abilities: Collection[str]) -> tuple[Op, ...]:
    """A dozen operations or so that a cache with these abilities must bear, near its capacity as often as not."""
    caches = [(0, scene.batch)]  # tokens seen, rows
    windowed = "window" in abilities
    span, others = scene.span(windowed), ["reset"] if scene.endless(windowed) else ["reset", "refuse"]
    done = []
    offered = [name for name in ("crop", "select", "fork", "state") if name in abilities]
    for _ in range(draw(st.integers(1, 20))):
        which = draw(st.integers(0, len(caches) - 1))
        length, rows = caches[which]
        feeds = ["feed"] * 4 if length < LONGEST else []
        name = draw(st.sampled_from([*feeds, *offered, *others]))
        op = Op(name, which)
        match name:
            case "feed":
                n = min(LONGEST - length, draw(st.sampled_from([1, 1, 2, 3, LONGEST]) | st.integers(1, LONGEST)))
                op, length = Op(name, which, n), length + n
            case "crop":
                if windowed and length - begun(scene.positions, span, length) > scene.room:
                    continue
                least = reachable(scene.positions, span, length)
                anywhere = st.integers(least, length)
                length = draw(st.sampled_from([least, length]) | anywhere | anywhere)
                op = Op(name, which, length)
            case "select":
                kept = draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=3))
                op, rows = Op(name, which, rows=tuple(kept)), len(kept)
            case "fork":
                if len(caches) == ALIVE:
                    continue
                caches.append((length, rows))
            case "reset":
                length = 0
        caches[which] = length, rows
        done.append(op)
    return tuple(done)


def _kept(draw: st.DrawFn, drawn: dict[str, Any]) -> int:
    whole = sum(drawn["sizes"])
    return draw(st.sampled_from([0, whole, max(whole - 1, 0)]) | st.integers(0, whole))


def _rows(draw: st.DrawFn, drawn: dict[str, Any]) -> tuple[int, ...]:
    batch = drawn["scene"].batch
    any_rows = st.lists(st.integers(0, batch - 1), min_size=1, max_size=4)
    return tuple(draw(st.permutations(range(batch)) | any_rows))


def _again(draw: st.DrawFn, drawn: dict[str, Any]) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(0, len(drawn["rows"]) - 1), min_size=1, max_size=3)))


def _place(draw: st.DrawFn, drawn: dict[str, Any]) -> int:
    return draw(st.integers(0, sum(drawn["sizes"]) - 1))


def _cut_within(most: int) -> Callable[[st.DrawFn, dict[str, Any]], tuple[int, ...]]:
    return lambda draw, drawn: tuple(draw(cuts(draw(st.integers(1, most)))))


# How each input of a property is drawn: its name in the property's signature -> from what was drawn before it.
INPUTS: dict[str, Callable[[st.DrawFn, dict[str, Any]], Any]] = {
    "sizes": _cut_within(PROMPT),
    "more": _cut_within(MORE),
    "other_sizes": lambda draw, drawn: tuple(draw(cuts(sum(drawn["sizes"])))),
    "kept": _kept,
    "rows": _rows,
    "again": _again,
    "place": _place,
    "program": lambda draw, drawn: draw(programs(drawn["scene"], drawn["abilities"])),
    "room": lambda draw, drawn: draw(st.integers(1, 9)),
    "n": lambda draw, drawn: draw(st.integers(1, 4)),
    "kind": lambda draw, drawn: draw(st.sampled_from(ROWS)),
    "size": lambda draw, drawn: draw(st.sampled_from([1, 2, 3, 7, 16, 63, 64, 65])),
    "exponent": lambda draw, drawn: draw(st.integers(0, 6)),
    "bad": lambda draw, drawn: draw(st.sampled_from(["nan", "inf", "-inf"])),
    "seed": lambda draw, drawn: draw(seeds),
    "k": lambda draw, drawn: draw(st.integers(1, 17)),
    "p": lambda draw, drawn: draw(st.floats(0.01, 0.999)),
    "u": lambda draw, drawn: draw(st.floats(0, 1 - 2**-24)),
    "tied": lambda draw, drawn: draw(st.booleans()),
    "length": lambda draw, drawn: draw(st.integers(24, 70)),
    "stride": lambda draw, drawn: draw(st.integers(1, 12)),
    "batch": lambda draw, drawn: draw(st.integers(1, 5)),
}


@st.composite
def inputs(
    draw: st.DrawFn,
    names: Collection[str],
    abilities: Collection[str],
    sharings: Collection[str | None],
    past: bool = False,
    least_room: int = 1,
) -> dict[str, Any]:
    """A value for each of these names of :data:`INPUTS`, and for ``scene``, in their order."""
    drawn: dict[str, Any] = {"abilities": abilities}
    for name in names:
        if name == "scene":
            drawn[name] = draw(scenes(sharings, abilities, past, least_room))
        else:
            drawn[name] = INPUTS[name](draw, drawn)
    del drawn["abilities"]
    return drawn
