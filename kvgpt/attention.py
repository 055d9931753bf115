"""Causal attention in plain PyTorch: the one definition that every cache's ``attend`` is held to.

The T new queries are the last T of the S stored positions, so the mask is aligned to the lower right corner.
PyTorch's ``is_causal`` aligns to the upper left (pytorch/pytorch#108108) and is used only where T = S.
"""

from collections.abc import Callable
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def lower_right_mask(T: int, S: int, device: torch.device) -> Tensor:
    """True where query t of the last T positions may see key s of S."""
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)  # (T, S)


def lower_right(T: int, S: int, device: torch.device) -> Tensor:
    """:func:`lower_right_mask` as ``device`` takes it best: for a GPU by its name alone, since a flash kernel has that
    mask built in and takes none that is written out (torch.nn.attention.bias.CausalBias).
    """
    if device.type != "cuda":
        return lower_right_mask(T, S, device)
    from torch.nn.attention.bias import causal_lower_right  # noqa: PLC0415 - imports torch's compiler

    return causal_lower_right(T, S)


def banded_mask(queries: Tensor, keys: Tensor, window: int, sinks: int) -> Tensor:
    """True where a query at position i may see a key at position j: the first ``sinks`` positions, and of the others
    the last ``window - sinks`` up to its own. ``queries`` (T,), ``keys`` (S,) int64.
    """
    i, j = queries.unsqueeze(1), keys.unsqueeze(0)
    return (j <= i) & ((j < sinks) | (i - j < window - sinks))  # (T, S)


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention through ``scaled_dot_product_attention``.

    q (B, H, T, D); k, v (B, H_kv, S, D), where H is a multiple of H_kv. ``mask`` (T, S) is true where a query may see a
    key; None is causal, for the last T of S positions. Returns (B, H, T, D).
    """
    T, S = q.size(2), k.size(2)
    square = mask is None and T == S > 1
    if mask is None and 1 < T < S:
        mask = lower_right(T, S, q.device)
    grouped = q.size(1) != k.size(1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=square, enable_gqa=grouped)


def matmul(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same attention written out: two products around a softmax. Shapes as in :func:`sdpa`."""
    T, S, groups = q.size(2), k.size(2), q.size(1) // k.size(1)
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)  # (B, H, S, D)
    scores = (q @ k.transpose(2, 3)) / sqrt(q.size(3))  # (B, H, T, S)
    if mask is None and T > 1:
        mask = lower_right_mask(T, S, q.device)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1) @ v  # (B, H, T, D)


PATHS: dict[str, Attention] = {"sdpa": sdpa, "matmul": matmul}
