"""GPT-2 in plain PyTorch, with the checkpoint's own names. Radford et al. 2019; openai/gpt-2; Hugging Face ``gpt2``.

Shapes: B batch, T new tokens, H heads, D head_dim, C = n_embd, V vocab_size.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvgpt import checkpoint
from kvgpt.caches.base import KVCache, KVShape
from kvgpt.caches.none import NoCache
from kvgpt.config import INT8, GPTConfig
from kvgpt.int8_weights import Int8Embedding, Int8Linear, quantise
from kvgpt.packing import Ready, linear, ready
from kvgpt.positions import EMBEDDINGS, Turn

LAYER_NORM_EPSILON = 1e-5
INITIAL_STD, INITIAL_WIDTH = 0.02, 768  # GPT-2's, at the width of its smallest model


class Linear(nn.Linear):
    """``ready`` is the weight made ready for few rows, see :meth:`GPT.prepare`."""

    ready: Ready | None = None

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, self.ready)

    def store(self, weight: Tensor, bias: Tensor) -> None:
        """Have weight (N, K) and bias (N,) from now on, in new parameters: the old may be another model's, too."""
        dtype = self.weight.dtype
        self.weight, self.bias = (nn.Parameter(part.to(dtype), requires_grad=False) for part in (weight, bias))

    def prepare(self, rows: int) -> None:
        """Be ready for products with this many rows."""
        self.ready = ready(self.weight, rows)

    def reset_parameters(self) -> None:
        """Nothing: GPT draws its weights from a generator of its own, or is given them."""


class Embedding(nn.Embedding):
    """Vectors of tokens, and the head that is tied to them."""

    ready: Ready | None = None

    def project(self, x: Tensor) -> Tensor:
        """X (..., C) -> logits (..., V)."""
        return linear(x, self.weight, None, self.ready)

    def prepare(self, rows: int) -> None:
        """Be ready for logits of this many rows."""
        self.ready = ready(self.weight, rows)

    def reset_parameters(self) -> None:
        """Nothing, as for :class:`Linear`."""


CODED: dict[type[nn.Module], type[Int8Linear | Int8Embedding]] = {Linear: Int8Linear, Embedding: Int8Embedding}


class CausalSelfAttention(nn.Module):
    """Queries of its own; keys and values of its own where the layer owns a slot of the cache."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.slot = config.slots[layer]
        self.head_dim = config.head_dim
        kv = config.kv_heads * config.head_dim
        self.widths = [config.n_embd, kv, kv] if config.owners[layer] == layer else [config.n_embd]
        self.c_attn: Linear | Int8Linear = Linear(config.n_embd, sum(self.widths))
        self.c_proj: Linear | Int8Linear = Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, cache: KVCache, turn: Turn) -> Tensor:
        return self.c_proj(self.attend(self.c_attn(x), cache, turn))

    def attend(self, projected: Tensor, cache: KVCache, turn: Turn) -> Tensor:
        """What ``c_attn`` made of the tokens, (B, T, C + 2K) or a follower's (B, T, C) -> (B, T, C)."""
        B, T, _ = projected.shape
        parts = projected.split(self.widths, dim=-1)
        q, *kv = [part.view(B, T, -1, self.head_dim).transpose(1, 2) for part in parts]  # each (B, H, T, D)
        if kv:
            kv[0] = turn(kv[0])
        y = cache.attend(self.slot, turn(q), *kv)  # (B, H, T, D)
        return y.transpose(1, 2).flatten(2)


class MLP(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc: Linear | Int8Linear = Linear(config.n_embd, config.inner)
        self.c_proj: Linear | Int8Linear = Linear(config.inner, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.attn = CausalSelfAttention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: KVCache, turn: Turn) -> Tensor:
        x = x + self.attn(self.ln_1(x), cache, turn)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """GPT-2 over any :class:`KVCache`. Fresh weights are drawn from ``seed`` alone; the global generator is untouched.

    ``weights`` says where the parameters came from, as the record of a measurement names it.
    """

    def __init__(self, config: GPTConfig, seed: int | None = 0) -> None:
        """``seed=None`` leaves the parameters on the meta device, to be assigned by ``load_state_dict``."""
        super().__init__()
        self.config = config
        self.weights = f"random:{seed}"
        with torch.device("meta"):
            self.wte: Embedding | Int8Embedding = Embedding(config.vocab_size, config.n_embd)
            self.wpe = EMBEDDINGS[config.position_embedding](config)
            self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
            self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        if seed is not None:
            self.to_empty(device="cpu")
            self._draw(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def _draw(self, generator: torch.Generator) -> None:
        """Initial weights as openai/gpt-2 draws them, residual projections like all others, scaled with the width."""
        std = INITIAL_STD * (INITIAL_WIDTH / self.config.n_embd) ** 0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif ".ln_" in f".{name}":
                parameter.fill_(1.0)
            else:
                parameter.normal_(std=std, generator=generator)

    def forward(
        self, ids: Tensor, cache: KVCache | None = None, positions: Tensor | None = None, last_only: bool = False
    ) -> Tensor:
        """Ids (B, T) int64 -> logits (B, T, V), or (B, 1, V) of the last position.

        Without a cache the whole sequence is computed at once, with the same sharing. ``positions`` (T,), int64 or
        floating where the model has vectors for them, default to the T that follow what the cache has seen.
        """
        B, T = ids.shape
        if cache is None:
            cache = NoCache(self.kv_shape(B, T))
        if positions is None:
            positions = cache.position + torch.arange(T, device=ids.device)  # (T,)
        x, turn = self.wpe(self.wte(ids), positions)  # (B, T, C)
        for block in self.blocks():
            x = block(x, cache, turn)
        if last_only:
            x = x[:, -1:]  # (B, 1, C)
        return self.wte.project(self.ln_f(x))

    def blocks(self) -> Iterator[Block]:
        """The layers, first to last, by their type."""
        return cast(Iterator[Block], iter(self.h))

    def kv_shape(self, batch_size: int, max_length: int) -> KVShape:
        """What a cache for this model must hold: the heads of keys and values that its layers make."""
        first, device = next(self.blocks()).attn, self.device
        kv_heads = first.widths[1] // first.head_dim  # the first layer owns a slot, whatever the sharing
        # Under autocast, as in training, projections come out in another dtype than the weights have.
        cast = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if cast else self.dtype
        return KVShape(self.config.n_slot, batch_size, kv_heads, first.head_dim, max_length, dtype, device)

    def share(self, sharing: str | None) -> "GPT":
        """The same weights with followers that attend to their owners' keys and values; their own are left out.

        What stays is shared with this model, but for the followers' query weights, which are copied so that nothing
        keeps the dropped ones alive.
        """
        if sharing == self.config.sharing:
            return self
        if self.config.sharing is not None:
            raise ValueError(f"this model has sharing {self.config.sharing!r}: it cannot take {sharing!r}")
        shared = self.like(replace(self.config, sharing=sharing))
        state = self.state_dict()
        for name, parameter in shared.state_dict().items():
            if parameter.shape != state[name].shape:
                state[name] = state[name][: parameter.size(0)].clone()  # the query rows of c_attn come first
        return shared.assign(state, self.weights)

    def like(self, config: GPTConfig) -> "GPT":
        """A model of this config on the meta device, which keeps its weights as this one does."""
        return _empty(config, self.coded)

    def assign(self, state: Mapping[str, Tensor], weights: str) -> Self:
        """Take these tensors as the parameters, without a copy, and remember where they came from."""
        self.load_state_dict(state, assign=True)
        self.weights = weights
        return self.requires_grad_(False).eval()

    def quantise(self) -> "GPT":
        """A model whose projections, embedding and head are int8 codes with a scale for each output channel, made from
        this one's numbers; see :mod:`kvgpt.int8_weights`. Its ``weights`` say so. Norms, biases and positions stay.

        ValueError where it is such a model already, or where a number is not finite.
        """
        if self.coded:
            raise ValueError(f"the weights {self.weights!r} are codes already: quantise the model they were made from")
        state = self.state_dict()
        for name, module in self.named_modules():
            if type(module) in CODED:
                state[f"{name}.codes"], state[f"{name}.scale"] = quantise(state.pop(f"{name}.weight"))
        return _empty(self.config, coded=True).assign(state, self.weights + INT8)

    @property
    def coded(self) -> bool:
        """Whether the weights are codes, as :meth:`quantise` makes them."""
        return isinstance(self.wte, Int8Embedding)

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in: the weights' own, or of codes their scales'."""
        return self.ln_f.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.ln_f.weight.device

    def prepare(self, rows: int) -> Self:
        """Make the weights ready for decode steps of this many rows on this CPU; see :mod:`kvgpt.packing`.

        Weights that change afterwards are used as they are, until this is called again.
        """
        for module in self.modules():
            if isinstance(module, Linear | Embedding | Int8Linear | Int8Embedding):
                module.prepare(rows)
        return self

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Self:
        """A Hugging Face GPT-2 directory, or a hub name such as ``gpt2-medium``. The file's dtype is kept.

        ValueError names a missing, extra, misshapen or non-finite tensor, or a file that is not the one that its
        manifest was written for; pickle files are refused. A directory without a manifest, such as one from the hub, is
        not checked for flipped bits.
        """
        directory = checkpoint.locate(source)
        config = checkpoint.read_config(directory)
        checkpoint.check_weights(directory, config.n_layer)
        model = cls(config, seed=None)
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        return model.assign(checkpoint.read_tensors(directory, shapes), weights=str(source))

    def save_pretrained(self, directory: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write ``model.safetensors``, ``config.json`` and their manifest; without sharing, transformers loads the
        directory. ValueError for codes, which no checkpoint of GPT-2 holds.
        """
        if self.coded:
            raise ValueError(
                f"the weights {self.weights!r} are int8 codes, which no checkpoint of GPT-2 holds: save the model they "
                "were made from, and call quantise() on what is loaded"
            )
        checkpoint.write(Path(directory), self.config, self.state_dict(), metadata or {})

    @property
    def nbytes(self) -> int:
        """Bytes of the parameters."""
        return sum(parameter.nbytes for parameter in self.parameters())

    @property
    def fingerprint(self) -> str:
        """The sha256 of the config and of every parameter's bytes: equal for equal functions only."""
        digest = hashlib.sha256(repr(self.config).encode())
        for name, tensor in self.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()

    def __repr__(self) -> str:
        c = self.config
        return f"GPT({c.n_layer} layers, {c.n_head} heads of {c.head_dim}, {self.weights}, {self.dtype})"


def _empty(config: GPTConfig, coded: bool) -> GPT:
    model = GPT(config, seed=None)
    if coded:
        for name, module in [*model.named_modules()]:
            if type(module) in CODED:
                with torch.device("meta"):
                    model.set_submodule(name, CODED[type(module)](*cast(Tensor, module.weight).shape))
    return model
