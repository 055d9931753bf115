"""What plain torch answers without a cache, by each of its ways to attend: the error that a dtype brings anyway."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kvgpt.attention import PATHS, Attention, banded_mask, lower_right_mask
from kvgpt.caches.none import NoCache
from kvgpt.model import GPT


def orders(T: int, S: int, device: torch.device, window: int | None = None, sinks: int = 0) -> list[Attention]:
    """The same attention of the last T of S tokens in four orders: each path, over the keys from either end."""
    if window is None:
        mask = lower_right_mask(T, S, device)
    else:
        places = torch.arange(S, device=device)
        mask = banded_mask(places[S - T :], places, window, sinks)

    def forwards(path: Attention) -> Attention:
        return lambda q, k, v, _: path(q, k, v, None if window is None else mask)

    def backwards(path: Attention) -> Attention:
        return lambda q, k, v, _: path(q, k.flip(2), v.flip(2), mask.flip(1))

    return [way(path) for path in PATHS.values() for way in (forwards, backwards)]


def logits(
    model: GPT, ids: Tensor, window: int | None = None, sinks: int = 0, positions: Sequence[float] | None = None
) -> list[Tensor]:
    """Ids (B, T) -> the logits (B, T, V) of the whole sequence at once, at ``positions``: by default 0 and on."""
    answers, places = [], torch.tensor(range(ids.size(1)) if positions is None else positions, device=ids.device)
    for path in orders(ids.size(1), ids.size(1), ids.device, window, sinks):
        cache = NoCache(model.kv_shape(*ids.shape))
        cache.attention = path
        with torch.no_grad():
            answers.append(model(ids, cache, places))
    return answers
