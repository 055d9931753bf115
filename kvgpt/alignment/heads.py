"""Alignment of keys and values: heads matched, then for each head least-squares maps of K and of V, folded away.

Under sharing, a follower's heads meet its owner's keys K and values V instead of its own, k and v. First each head of
the owner gets a head of the follower, each of these once, so that what the maps leave unexplained of k and of v, as
shares of their variances, is least in total. Then for each pair of heads, over all calibration tokens,

    k ~ K A        less their means over a sequence: a softmax does not see what all keys have in common
    v ~ V B + c

by least squares. Since q . (K A) = (A q) . K, the map of keys goes into the query weights; since the weights p of a
softmax add up to 1, sum p_j (V_j B + c) = (sum p_j V_j) B + c, and the map of values goes into the output weights. In
both, the follower's heads take the order of the owner's. Under grouped-query attention whole groups are matched.

Layers are fitted first to last, each on what those before it, fitted already, will feed it: the targets are the keys
and values that the unshared layer would make of just that.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from kvgpt.alignment.assignment import assign
from kvgpt.caches.none import NoCache
from kvgpt.model import GPT, CausalSelfAttention

NEGLIGIBLE = 1e-11  # of the largest variance: directions that no token uses are mapped to nothing


def fit(model: GPT, aligned: GPT, ids: Tensor) -> None:
    """Fit ``aligned``, which has the weights of ``model`` under a sharing, on ids (N, T); ``model`` is unchanged.

    ValueError where a layer makes keys or values that are not finite.
    """
    N, T = ids.shape
    cache = NoCache(aligned.kv_shape(N, T))
    x, turn = aligned.wpe(aligned.wte(ids), torch.arange(T, device=ids.device))  # (N, T, C)
    owned: dict[int, list[Tensor]] = {}
    for layer, (unshared, block) in enumerate(zip(model.blocks(), aligned.blocks(), strict=True)):
        owner = aligned.config.owners[layer]
        made = list(_keys_and_values(unshared.attn, unshared.ln_1(x)))  # k, v: each (H_kv, N, T, D)
        if not all(bool(part.isfinite().all()) for part in made):
            raise ValueError(f"layer {layer} makes keys or values of the calibration ids that are not finite")
        if owner == layer:
            owned = {layer: made}
        else:
            fold(block.attn, *fit_heads(*made, *owned[owner]))
        x = block(x, cache, turn)


def _keys_and_values(attention: CausalSelfAttention, x: Tensor) -> Iterator[Tensor]:
    for part in attention.c_attn(x).double().split(attention.widths, dim=-1)[1:]:
        yield part.unflatten(-1, (-1, attention.head_dim)).permute(2, 0, 1, 3)  # (H_kv, N, T, D)


def fit_heads(k: Tensor, v: Tensor, K: Tensor, V: Tensor) -> tuple[list[int], Tensor, Tensor, Tensor]:
    """A follower's k, v and its owner's K, V, each (H_kv, N, T, D) float64 -> the follower's head for each of the
    owner's, A (H_kv, D, D), B (H_kv, D, D) and c (H_kv, D).
    """
    k, K = ((part - part.mean(dim=2, keepdim=True)).flatten(1, 2) for part in (k, K))  # (H_kv, N T, D)
    v, V = v.flatten(1, 2), V.flatten(1, 2)
    mean_v, mean_V = v.mean(dim=1, keepdim=True), V.mean(dim=1, keepdim=True)  # (H_kv, 1, D)
    v, V = v - mean_v, V - mean_V
    heads = assign(unexplained(K, k) + unexplained(V, v))
    A, B = least_squares(K, k[heads]), least_squares(V, v[heads])
    return heads, A, B, (mean_v[heads] - mean_V @ B).squeeze(1)


def unexplained(X: Tensor, Y: Tensor) -> Tensor:
    """X (S, n, D), Y (F, n, D), means removed -> (S, F): the share of Y's variance that no map of X reaches."""
    variances, directions = _spectrum(X)
    across = torch.einsum("snd,fne->sfde", X, Y)  # (S, F, D, D)
    seen = directions.mT.unsqueeze(1) @ across  # (S, F, D, D)
    reached = (seen.square().sum(dim=3) * _inverse(variances, 0.0).unsqueeze(1)).sum(dim=2)  # (S, F)
    total = Y.square().sum(dim=(1, 2))  # (F,)
    return 1 - reached / total.clamp(min=torch.finfo(total.dtype).tiny)


def least_squares(X: Tensor, Y: Tensor) -> Tensor:
    """X, Y (H, n, D), means removed -> M (H, D, D) with X M ~ Y.

    The ridge is that of Hoerl, Kennard and Baldwin 1975, D s^2 / |M|^2, with s^2 the variance that plain least squares
    leaves: none where a map is exact, some where few tokens say little.
    """
    n, D = X.shape[1:]
    variances, directions = _spectrum(X)
    seen = directions.mT @ (X.mT @ Y)  # (H, D, D)
    plain = directions @ (_inverse(variances, 0.0).unsqueeze(2) * seen)
    left = (Y - X @ plain).square().sum(dim=(1, 2)) / max(n - D, 1)  # (H,)
    ridge = D * left / plain.square().sum(dim=(1, 2)).clamp(min=torch.finfo(X.dtype).tiny)
    return directions @ (_inverse(variances, ridge.unsqueeze(1)).unsqueeze(2) * seen)


def _spectrum(X: Tensor) -> tuple[Tensor, Tensor]:
    """X (H, n, D) -> the eigenvalues (H, D) and, in columns, the eigenvectors (H, D, D) of X^T X."""
    variances, directions = torch.linalg.eigh(X.mT @ X)
    return variances, directions


def _inverse(variances: Tensor, ridge: Tensor | float) -> Tensor:
    """1 / (variances + ridge), 0 where a variance (H, D) is negligible."""
    used = variances > NEGLIGIBLE * variances.amax(dim=1, keepdim=True)
    return torch.where(used, 1 / torch.where(used, variances + ridge, 1), 0)


def fold(attention: CausalSelfAttention, heads: list[int], A: Tensor, B: Tensor, c: Tensor) -> None:
    """Give a follower's projections new weights: its heads in the owner's order, the maps of K and V applied."""
    D, C = attention.head_dim, attention.c_proj.weight.size(0)
    H, H_kv = C // D, len(heads)
    order = torch.arange(H, device=A.device).view(H_kv, -1)[heads].flatten()  # whole groups
    A, B, c = (part.repeat_interleave(H // H_kv, dim=0) for part in (A, B, c))  # (H, D, D), (H, D, D), (H, D)
    queries, bias = attention.c_attn.weight.double(), attention.c_attn.bias.double()
    mapped, turned = A @ queries.view(H, D, C)[order], A @ bias.view(H, D, 1)[order]  # (H, D, C), (H, D, 1)
    attention.c_attn.store(mapped.reshape(C, C), turned.flatten())
    output, bias = attention.c_proj.weight.double(), attention.c_proj.bias.double()
    output = output.view(C, H, D)[:, order].transpose(0, 1)  # (H, C, D)
    shift = (output @ c.unsqueeze(2)).sum(dim=0)  # (C, 1)
    attention.c_proj.store((output @ B.mT).transpose(0, 1).reshape(C, C), bias + shift.squeeze(1))
