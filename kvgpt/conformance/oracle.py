"""The right answer: GPT-2 written again in float64, position by position, without a cache and without the model's code.

It takes a state dict under the checkpoint's names, and the two things that change the function: which layer's keys and
values a layer attends to, and what a lossy cache makes of them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import pi, sqrt

import torch
from torch import Tensor

RoundTrip = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]  # (slot, k, v), each (B, H, T, D)


def logits(
    state: Mapping[str, Tensor],
    ids: Tensor,
    n_head: int,
    group: int = 1,
    n_kv_head: int | None = None,
    round_trip: RoundTrip | None = None,
    window: int | None = None,
    sinks: int = 0,
    positions: Sequence[float] | None = None,
) -> Tensor:
    """Ids (B, T) -> logits (B, T, V) float64, the first of each ``group`` of layers owning keys and values.

    Under a ``window`` a token sees the first ``sinks`` tokens and, of the others, the last ``window - sinks``.
    ``positions`` are the T tokens' own, by default 0 and on; without a learned vector for them, queries and keys turn.
    """
    weights = {name: tensor.detach().to("cpu", torch.float64) for name, tensor in state.items()}
    n_layer = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("h."))
    width = weights["wte.weight"].shape[1]
    size = width // n_head
    kv_width = size * (n_kv_head or n_head)
    length = ids.shape[1]
    places = torch.tensor(range(length) if positions is None else positions, dtype=torch.float64)  # (T,)
    x = weights["wte.weight"][ids]
    if "wpe.weight" in weights:
        known = weights["wpe.weight"]
        near = (1 - (places[:, None] - torch.arange(len(known))[None, :]).abs()).clamp(min=0)  # (T, P)
        assert (near.sum(dim=1) - 1).abs().max() < 1e-12, f"positions {places.tolist()} of {len(known)} learned ones"
        x = x + torch.einsum("tp,pc->tc", near, known)
        angles = None
    else:
        angles = torch.einsum("t,d->td", places, 10000.0 ** -(torch.arange(size // 2, dtype=torch.float64) * 2 / size))
    keys = values = torch.empty(0)
    for layer in range(n_layer):
        part = {
            name.removeprefix(f"h.{layer}."): one for name, one in weights.items() if name.startswith(f"h.{layer}.")
        }
        a = _norm(x, part["ln_1.weight"], part["ln_1.bias"])
        w, b = part["attn.c_attn.weight"], part["attn.c_attn.bias"]
        query = _turned(_heads(torch.einsum("btc,oc->bto", a, w[:width]) + b[:width], size), angles)
        if layer % group == 0:
            k_rows, v_rows = slice(width, width + kv_width), slice(width + kv_width, width + 2 * kv_width)
            keys = _turned(_heads(torch.einsum("btc,oc->bto", a, w[k_rows]) + b[k_rows], size), angles)
            values = _heads(torch.einsum("btc,oc->bto", a, w[v_rows]) + b[v_rows], size)
            if round_trip is not None:
                keys, values = round_trip(layer // group, keys, values)
        mixed = attention(query, keys, values, window, sinks)
        attended = torch.cat([mixed[:, head] for head in range(n_head)], dim=2)
        x = x + torch.einsum("btc,oc->bto", attended, part["attn.c_proj.weight"]) + part["attn.c_proj.bias"]
        m = _norm(x, part["ln_2.weight"], part["ln_2.bias"])
        m = torch.einsum("btc,oc->bto", m, part["mlp.c_fc.weight"]) + part["mlp.c_fc.bias"]
        m = 0.5 * m * (1 + torch.tanh(sqrt(2 / pi) * (m + 0.044715 * m * m * m)))
        x = x + torch.einsum("btc,oc->bto", m, part["mlp.c_proj.weight"]) + part["mlp.c_proj.bias"]
    return torch.einsum("btc,vc->btv", _norm(x, weights["ln_f.weight"], weights["ln_f.bias"]), weights["wte.weight"])


def attention(q: Tensor, k: Tensor, v: Tensor, window: int | None = None, sinks: int = 0) -> Tensor:
    """Q (B, H, T, D) over k, v (B, H_kv, S, D), in float64: query t is position S - T + t of S, and sees what is at
    its own position and before it, under a ``window`` the first ``sinks`` and the last ``window - sinks`` of that.
    """
    sources = [head * k.shape[1] // q.shape[1] for head in range(q.shape[1])]
    q, k, v = q.double(), k.double()[:, sources], v.double()[:, sources]
    first = k.shape[2] - q.shape[2]
    out = torch.empty_like(q)
    for t in range(q.shape[2]):
        recent = 0 if window is None else max(0, first + t + 1 - (window - sinks))
        seen = [*range(min(sinks, recent)), *range(recent, first + t + 1)]
        score = torch.einsum("bhd,bhsd->bhs", q[:, :, t], k[:, :, seen]) / sqrt(q.shape[3])
        weight = torch.exp(score - score.max(dim=2, keepdim=True).values)
        weight = weight / weight.sum(dim=2, keepdim=True)
        out[:, :, t] = torch.einsum("bhs,bhsd->bhd", weight, v[:, :, seen])
    return out


def _heads(x: Tensor, size: int) -> Tensor:
    return torch.stack(x.split(size, dim=2), dim=1)


def _turned(heads: Tensor, angles: Tensor | None) -> Tensor:
    """Numbers d and d + D/2 as one complex number, turned by the position's angle (T, D/2)."""
    if angles is None:
        return heads
    half = heads.shape[3] // 2
    turned = torch.complex(heads[..., :half], heads[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), dim=3)


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(dim=2, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(dim=2, keepdim=True) + 1e-5) * weight + bias
