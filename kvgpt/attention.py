"""Causal attention in plain PyTorch: the one definition that every cache's ``attend`` is held to.

The T new queries are the last T of the S stored positions, so the mask is aligned to the lower right corner.
PyTorch's ``is_causal`` aligns to the upper left (pytorch/pytorch#108108) and is used only where T = S.
"""

from collections.abc import Callable
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def lower_right_mask(T: int, S: int, device: torch.device) -> Tensor:
    """True where query t of the last T positions may see key s of S."""
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)  # (T, S)


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention through ``scaled_dot_product_attention``.

    q (B, H, T, D); k, v (B, H_kv, S, D), where H is a multiple of H_kv and T <= S. Returns (B, H, T, D).
    """
    T, S = q.size(2), k.size(2)
    mask = lower_right_mask(T, S, q.device) if 1 < T < S else None
    grouped = q.size(1) != k.size(1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=T == S > 1, enable_gqa=grouped)


def matmul(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same attention written out: two products around a softmax. Shapes as in :func:`sdpa`."""
    T, S, groups = q.size(2), k.size(2), q.size(1) // k.size(1)
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)  # (B, H, S, D)
    scores = (q @ k.transpose(2, 3)) / sqrt(q.size(3))  # (B, H, T, S)
    if T > 1:
        scores = scores.masked_fill(~lower_right_mask(T, S, q.device), float("-inf"))
    return scores.softmax(dim=-1) @ v  # (B, H, T, D)


PATHS: dict[str, Attention] = {"sdpa": sdpa, "matmul": matmul}
