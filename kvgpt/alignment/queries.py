"""Query alignment: followers' queries mapped to the keys of their owners, fitted once in closed form.

Under sharing, a follower's query q meets its owner's keys K_o instead of its own K_f. For each head the map A and the
bias b minimise the squared difference of scores, over calibration sequences and all pairs of their tokens,

    sum (q_i . k_f_j  -  (A q_i + b) . k_o_j)^2      keys taken less their mean over the sequence,

since a softmax does not see a constant added to all scores of a query. Whatever the queries are, A is the least-squares
map from K_o to K_f; given A, b solves one linear system. Both are folded into the follower's query weights, so that
decoding costs nothing more. The values stay the owner's.
"""

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from kvgpt.config import GPTConfig
from kvgpt.model import GPT, CausalSelfAttention

RIDGE = 1e-6  # of the mean variance of the owner's keys: keeps directions that no key uses from blowing up


def fit(model: GPT, aligned: GPT, ids: Tensor) -> None:
    """Fit ``aligned``, which has the weights of ``model`` under a sharing, on ids (N, T); ``model`` is unchanged."""
    layers = [*aligned.blocks()]
    for layer, (A, b) in _fit_all(model, ids, aligned.config).items():
        queries = layers[layer].attn.c_attn
        weight, bias = queries.weight.double(), queries.bias.double()
        H, D = b.shape
        mapped = A @ weight.view(H, D, -1)  # (H, D, C)
        shift = (A @ bias.view(H, D, 1)).squeeze(2) + b  # (H, D)
        queries.store(mapped.reshape_as(weight), shift.reshape_as(bias))


def _fit_all(model: GPT, ids: Tensor, config: GPTConfig) -> dict[int, tuple[Tensor, Tensor]]:
    """{follower: (A (H, D, D), b (H, D))}, from one forward pass of the unshared model."""
    keys: dict[int, Tensor] = {}
    maps: dict[int, tuple[Tensor, Tensor]] = {}

    def listen(layer: int, attention: CausalSelfAttention) -> RemovableHandle:
        def hear(module: torch.nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            parts = out.double().split(attention.widths, dim=-1)
            q, k, _ = (part.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for part in parts)  # (N, H, T, D)
            if config.owners[layer] == layer:
                keys[layer] = k
            else:
                maps[layer] = fit_queries(q, k, keys[config.owners[layer]])

        return attention.c_attn.register_forward_hook(hear)

    handles = [listen(layer, block.attn) for layer, block in enumerate(model.blocks())]
    try:
        model(ids, last_only=True)
    finally:
        for handle in handles:
            handle.remove()
    return maps


def fit_queries(q: Tensor, k_follower: Tensor, k_owner: Tensor) -> tuple[Tensor, Tensor]:
    """Q (N, H, T, D), keys (N, H_kv, T, D) -> A (H, D, D), b (H, D)."""
    H, D = q.size(1), q.size(3)
    groups = H // k_owner.size(1)
    own = k_follower - k_follower.mean(dim=2, keepdim=True)
    foreign = k_owner - k_owner.mean(dim=2, keepdim=True)
    within = (foreign.transpose(2, 3) @ foreign).repeat_interleave(groups, dim=1)  # (N, H, D, D)
    across = (foreign.transpose(2, 3) @ own).repeat_interleave(groups, dim=1)  # (N, H, D, D)
    total = within.sum(dim=0)  # (H, D, D)
    ridge = RIDGE * total.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=torch.finfo(q.dtype).tiny)  # (H,)
    total = total + ridge.view(-1, 1, 1) * torch.eye(D, dtype=q.dtype, device=q.device)
    A = torch.linalg.solve(total, across.sum(dim=0))  # (H, D, D)
    mean_query = q.mean(dim=2).unsqueeze(3)  # (N, H, D, 1)
    residual = ((across - within @ A) @ mean_query).sum(dim=0)  # (H, D, 1)
    return A, torch.linalg.solve(total, residual).squeeze(2)
