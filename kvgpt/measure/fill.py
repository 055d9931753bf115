"""Caches filled without a model: what is held is what a cache costs, not what a model would have put there."""

from functools import singledispatch

import torch

from kvgpt.caches.base import KVCache
from kvgpt.engine import Engine
from kvgpt.peers.base import Peer
from kvgpt.transients import CHUNK


@torch.inference_mode()
def fill(cache: KVCache, length: int, chunk: int = CHUNK) -> None:
    """Feed random vectors through ``attend``, a chunk a step, until ``cache`` has seen ``length`` tokens.

    ValueError for a cache that keeps nothing between steps.
    """
    if cache.stateless:
        raise ValueError(f"{type(cache).__name__} keeps nothing between steps: there is nothing to fill")
    shape, generator = cache.shape, torch.Generator(cache.position.device).manual_seed(0)
    while cache.length < length:
        n = min(chunk, length - cache.length)
        size = (shape.batch_size, shape.n_head, n, shape.head_dim)
        k, v = (torch.randn(size, generator=generator, device=cache.position.device).to(shape.dtype) for _ in range(2))
        for layer in range(shape.n_layer):
            cache.attend(layer, k, k, v)
        cache.advance(n)


@singledispatch
def stand_at(engine: Engine | Peer, length: int) -> None:
    """Have ``engine`` hold ``length`` tokens, whatever they are."""
    raise TypeError(f"{type(engine).__name__} is neither an engine nor a peer")


@stand_at.register
def _(engine: Engine, length: int) -> None:
    """Cropped to where that is offered, else filled."""
    if engine.length >= length and engine.cache.offers("crop"):
        engine.crop(length)
        return
    engine.reset()
    if not engine.cache.stateless:
        fill(engine.cache, length)
    elif length:
        engine.prefill(torch.zeros(engine.batch_size, length, dtype=torch.int64))


@stand_at.register
def _(peer: Peer, length: int) -> None:
    """Fed: nothing is known of a peer's cache."""
    peer.reset()
    if length:
        peer.prefill(torch.zeros(peer.batch_size, length, dtype=torch.int64))
