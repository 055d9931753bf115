"""Query alignment: followers' queries mapped to the keys of their owners, fitted once in closed form.

Under sharing, a follower's query q meets its owner's keys K_o instead of its own K_f. For each head the map A and the
bias b minimise the squared difference of scores, over calibration sequences and all pairs of their tokens,

    sum (q_i . k_f_j  -  (A q_i + b) . k_o_j)^2      keys taken less their mean over the sequence,

since a softmax does not see a constant added to all scores of a query. Whatever the queries are, A is the least-squares
map from K_o to K_f; given A, b solves one linear system. Both are folded into the follower's query weights, so that
decoding costs nothing more. The values stay the owner's.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from kvgpt.config import GPTConfig
from kvgpt.model import GPT, CausalSelfAttention

RIDGE = 1e-6  # of the mean variance of the owner's keys: keeps directions that no key uses from blowing up


@torch.no_grad()
def align(model: GPT, ids: Tensor, sharing: str = "cla2", kind: str = "q") -> GPT:
    """``model`` under ``sharing``, followers' queries fitted on ids (N, T) int64; ``model`` itself is unchanged.

    ``kind`` is ``q``. ValueError where the model already shares or has rotary positions, or ids are too few.
    """
    if kind != "q":
        raise ValueError(f"kind={kind!r}: known: 'q' (queries)")
    if ids.dim() != 2 or ids.size(1) < 2:
        raise ValueError(f"calibration ids have shape {tuple(ids.shape)}: expected (sequences, 2 tokens or more)")
    if model.config.position_embedding != "learned":
        raise ValueError(
            "rotary positions turn queries and keys by their distance: no one map of queries fits them all"
        )
    if model.config.sharing is not None:
        raise ValueError(f"the model already has sharing {model.config.sharing!r}: align starts from one that has none")
    shared = model.share(sharing)
    maps = _fit_all(model, ids, shared.config)
    state = shared.state_dict()
    layers = [*shared.blocks()]
    for layer, (A, b) in maps.items():
        queries = layers[layer].attn.c_attn
        weight, bias = queries.weight.double(), queries.bias.double()
        H, D = b.shape
        mapped = A @ weight.view(H, D, -1)  # (H, D, C)
        shift = (A @ bias.view(H, D, 1)).squeeze(2) + b  # (H, D)
        kept = queries.stored(mapped.reshape_as(weight), shift.reshape_as(bias))
        state |= {f"h.{layer}.attn.c_attn.{name}": tensor for name, tensor in kept.items()}
    aligned = shared.like(replace(shared.config, align="qalign"))
    return aligned.assign(state, model.weights)


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
        model(ids.to(model.device), last_only=True)
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
