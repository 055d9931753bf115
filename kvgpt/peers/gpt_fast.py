"""GPT-2 in the style of gpt-fast: a static cache, one compiled decode step, and nothing else.

The design is that of "Accelerating Generative AI with PyTorch II: GPT, Fast" (PyTorch, 2023) and pytorch-labs/gpt-fast;
the code is ours. Every step attends to all S = ``max_length`` places under a static mask: no shape ever changes. The
prefill stays eager, as theirs does by default.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kvgpt.compiling import Compiled, uncompilable
from kvgpt.config import GPTConfig
from kvgpt.model import GPT, LAYER_NORM_EPSILON
from kvgpt.peers.base import Peer
from kvgpt.storages import distinct_bytes

# mode="reduce-overhead", and the tuning that gpt-fast asks for beside it: torch.compile takes a mode or options.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {
    "triton.cudagraphs": True,
    "coordinate_descent_tuning": True,
}
SETTLED = 3  # steps until a graph is compiled, warmed up and captured


class Attention(nn.Module):
    """One product for queries, keys and values; keys and values go to their places among S in a cache."""

    k: Tensor
    v: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head, self.head_dim = config.n_head, config.head_dim
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def allocate(self, batch_size: int, max_length: int) -> None:
        shape = batch_size, self.n_head, max_length, self.head_dim
        for name in ("k", "v"):
            self.register_buffer(name, self.c_attn.weight.new_zeros(shape), persistent=False)

    def forward(self, x: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = [part.view(B, T, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(C, dim=-1)]
        self.k.index_copy_(2, places, k)
        self.v.index_copy_(2, places, v)
        y = F.scaled_dot_product_attention(q, self.k, self.v, attn_mask=mask)  # (B, H, T, D)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.inner)
        self.c_proj = nn.Linear(config.inner, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x), places, mask)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """The whole of it, under the checkpoint's names. Its parameters are ``model``'s own tensors."""

    mask: Tensor

    def __init__(self, model: GPT, batch_size: int, max_length: int) -> None:
        super().__init__()
        config = model.config
        with torch.device("meta"):
            self.wte = nn.Embedding(config.vocab_size, config.n_embd)
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
            self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
            self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.load_state_dict(model.state_dict(), assign=True)
        self.requires_grad_(False).eval()
        for attention in self.attentions():
            attention.allocate(batch_size, max_length)
        square = torch.ones(max_length, max_length, dtype=torch.bool, device=self.wte.weight.device)
        self.register_buffer("mask", square.tril(), persistent=False)  # (S, S)

    def attentions(self) -> list[Attention]:
        return [cast(Block, block).attn for block in self.h]

    def forward(self, ids: Tensor, places: Tensor) -> Tensor:
        """Ids (B, T) at ``places`` (T,) int64 -> logits (B, V) of the last."""
        x = self.wte(ids) + self.wpe(places)  # (B, T, C)
        mask = self.mask[places]  # (T, S)
        for block in self.h:
            x = block(x, places, mask)
        return F.linear(self.ln_f(x[:, -1]), self.wte.weight)


def decode(net: Transformer, ids: Tensor, place: Tensor) -> Tensor:
    """Ids (B, 1) at ``place`` (1,) -> logits (B, V), by the attention that inductor fuses best."""
    with sdpa_kernel(SDPBackend.MATH):
        return net(ids, place)


class GPTFast(Peer):
    """``eager`` says why nothing is compiled, where it is not; ``canonical`` then ends in ``+eager``.

    Building one compiles and settles its decode step, so that no measurement holds that.
    """

    canonical = "gpt-fast"

    def __init__(self, model: GPT, batch_size: int = 1, max_length: int | None = None) -> None:
        super().__init__(model, batch_size, max_length)
        self.net = Transformer(model, batch_size, self.max_length)
        self._place = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._decode: Callable[..., Tensor] = decode
        self.eager = uncompilable(self._device)
        if self.eager is not None:
            self.canonical += "+eager"
            return
        self._decode = Compiled(decode, dynamic=False, options=OPTIONS)
        ids = torch.zeros(batch_size, 1, dtype=torch.int64, device=self._device)
        with torch.inference_mode():
            for _ in range(SETTLED):
                self._decode(self.net, ids, self._place)

    def _forward(self, ids: Tensor) -> Tensor:
        T = ids.size(1)
        if T == 1:
            logits = self._decode(self.net, ids, self._place).clone()  # the next step writes to where these are
        else:
            logits = self.net(ids, self._place + torch.arange(T, device=self._device))
        self._place += T
        return logits

    def _empty(self) -> None:
        """What is held stays, and is masked until it is written over."""
        self._place.zero_()

    @property
    def weights_bytes(self) -> int:
        return distinct_bytes(self.net.parameters())

    @property
    def cache_bytes(self) -> int:
        return distinct_bytes(part for one in self.net.attentions() for part in (one.k, one.v))
