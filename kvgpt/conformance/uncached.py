"""What plain torch answers without a cache, by each of its ways to attend: the error that a dtype brings anyway."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kvgpt.attention import PATHS, Attention, banded_mask
from kvgpt.caches.none import NoCache
from kvgpt.model import GPT


def paths(length: int, window: int | None, sinks: int, device: torch.device) -> list[Attention]:
    """Attention over ``length`` tokens at once, under the window where there is one."""
    if window is None:
        return list(PATHS.values())
    places = torch.arange(length, device=device)
    band = banded_mask(places, places, window, sinks)

    def banded(path: Attention) -> Attention:
        return lambda q, k, v, _: path(q, k, v, band)

    return [banded(path) for path in PATHS.values()]


def logits(
    model: GPT, ids: Tensor, window: int | None = None, sinks: int = 0, positions: Sequence[float] | None = None
) -> list[Tensor]:
    """Ids (B, T) -> the logits (B, T, V) of the whole sequence at once, at ``positions``: by default 0 and on."""
    answers, places = [], torch.tensor(range(ids.size(1)) if positions is None else positions, device=ids.device)
    for path in paths(ids.size(1), window, sinks, ids.device):
        cache = NoCache(model.kv_shape(*ids.shape))
        cache.attention = path
        with torch.no_grad():
            answers.append(model(ids, cache, places))
    return answers
