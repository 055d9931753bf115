"""The error of stored vectors: what is read back, held to what was fed, and how that changes with a token's age."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kvgpt.caches.base import KVCache
from kvgpt.caches.dense import DenseCache
from kvgpt.model import GPT


@dataclass(frozen=True)
class StoredError:
    """RMS of what was read back less what was stored, over tokens, heads and layers, relative to what was stored.

    ``drift`` is the error of the oldest tenth of the tokens less that of the newest. Old and new are other tokens, too:
    a drift that is small beside ``error`` need not come from age.
    """

    error: float
    drift: float


@torch.inference_mode()
def stored_error(model: GPT, cache: KVCache, ids: Tensor) -> StoredError | None:
    """Feed a fresh ``cache`` the K and V that ``model`` has for ids (B, T) int64, one token a step, and read them back.

    They come from a dense cache over the whole of ids, in the model's dtype. None for a cache that keeps nothing
    between steps or lets go of old tokens.
    """
    if cache.stateless or cache.window is not None:
        return None
    dense = DenseCache(cache.shape)
    model(ids.to(cache.position.device), dense, last_only=True)
    T, layers = ids.size(1), range(cache.shape.n_layer)
    dense.advance(T)
    for t in range(T):
        for layer in layers:
            k, v = (fed[:, :, t : t + 1] for fed in dense.read(layer))  # each (B, H, 1, D)
            cache.attend(layer, k, k, v)
        cache.advance(1)
    wrong, whole = (torch.zeros(2, T, dtype=torch.float64) for _ in range(2))  # squares, of K and of V by token
    for layer in layers:
        fed, read = (torch.stack(each.read(layer)).double() for each in (dense, cache))  # (2, B, H, T, D)
        wrong += (read - fed).square().sum(dim=(1, 2, 4)).cpu()
        whole += fed.square().sum(dim=(1, 2, 4)).cpu()
    tenth = max(1, T // 10)
    oldest, newest = (_relative(wrong[:, part], whole[:, part]) for part in (slice(tenth), slice(T - tenth, T)))
    return StoredError(_relative(wrong, whole), oldest - newest)


def _relative(wrong: Tensor, whole: Tensor) -> float:
    """The root of two sums of squares (2, tokens), K and V each by its own, then the RMS of both."""
    return float((wrong.sum(dim=1) / whole.sum(dim=1)).mean().sqrt())
