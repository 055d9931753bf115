"""A decode step in five calls a layer: LayerNorm with the product after it, attention, and products with what is added
to them. The model's own tensors and its own attention: what a step computes is :class:`GPT`'s to say.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from kvgpt.caches.base import KVCache
from kvgpt.model import GPT, MLP, Block, CausalSelfAttention, Embedding, Linear
from kvgpt.positions import EMBEDDINGS, Turn

PARTS = {GPT, Block, CausalSelfAttention, MLP, Linear, Embedding, nn.LayerNorm, nn.ModuleList, *EMBEDDINGS.values()}


class Products(Protocol):
    """The two products of a layer and their neighbours, as a device has them: see :mod:`kvgpt.native.rows`."""

    @property
    def normed(self) -> Callable[..., Tensor]: ...

    @property
    def added(self) -> Callable[..., Tensor]: ...


def fusible(model: object) -> bool:
    """Whether ``model`` is made of GPT's own parts alone. Of what others compute in their place nothing is known."""
    return isinstance(model, nn.Module) and {type(part) for part in model.modules()} <= PARTS


def multiplied(model: GPT) -> list[Tensor]:
    """The weights of all products."""
    return [part.weight for part in model.modules() if isinstance(part, Linear | Embedding)]


class Fused:
    """Called as the model is. One token each of a few rows goes through ``products``, all else through the model.

    It reads the parameters of the model's modules without calling these: hooks on them do not fire.
    """

    def __init__(self, model: GPT, products: Products, most_rows: int, dtypes: tuple[torch.dtype, ...]) -> None:
        self.model, self.products = model, products
        self.most_rows, self.dtypes = most_rows, dtypes

    def __call__(self, ids: Tensor, cache: KVCache, positions: Tensor | None = None, last_only: bool = False) -> Tensor:
        """Ids (B, T) int64 -> logits (B, T, V), or (B, 1, V) of the last position."""
        model = self.model
        if ids.size(1) > 1 or ids.size(0) > self.most_rows or cache.shape.dtype not in self.dtypes:
            return model(ids, cache, positions, last_only)
        if positions is None:
            positions = cache.position.unsqueeze(0)  # (1,)
        x, turn = model.wpe(model.wte(ids), positions)  # (B, 1, C)
        for block in model.blocks():
            x = self._layer(block, x, cache, turn)
        norm = model.ln_f
        return self.products.normed(x, norm.weight, norm.bias, norm.eps, model.wte.weight)

    def _layer(self, block: Block, x: Tensor, cache: KVCache, turn: Turn) -> Tensor:
        normed, added = self.products.normed, self.products.added
        norm, attn, mlp = block.ln_1, block.attn, block.mlp
        projected = normed(x, norm.weight, norm.bias, norm.eps, attn.c_attn.weight, attn.c_attn.bias)
        y = attn.attend(projected, cache, turn)  # (B, 1, C)
        x = added(y, attn.c_proj.weight, attn.c_proj.bias, x)
        norm = block.ln_2
        hidden = normed(x, norm.weight, norm.bias, norm.eps, mlp.c_fc.weight, mlp.c_fc.bias, gelu=True)  # (B, 1, 4C)
        return added(hidden, mlp.c_proj.weight, mlp.c_proj.bias, x)
