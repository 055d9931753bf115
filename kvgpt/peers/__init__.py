"""Other systems behind the engine's interface, with the same weights: columns of the same run, never caches of ours.

A peer is one file and one line of :data:`PEERS`. No torch here: names are checked on machines that have none.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvgpt.model import GPT
    from kvgpt.peers.base import Peer

PEERS = {  # name -> where its class lives
    "transformers-dynamic": "kvgpt.peers.transformers:Dynamic",
    "transformers-static": "kvgpt.peers.transformers:Static",
    "transformers-quantized": "kvgpt.peers.transformers:Quantized",
    "transformers-generate": "kvgpt.peers.transformers:Generate",
    "gpt-fast": "kvgpt.peers.gpt_fast:GPTFast",
}


def absent(name: str) -> str | None:
    """Why a peer cannot run here, or None. Nothing is built; the packages that it needs are imported."""
    if name not in PEERS:
        raise ValueError(f"unknown peer {name!r}: known: {', '.join(PEERS)}")
    try:
        return _load(name).absent()
    except Exception as error:  # a package that is there and broken raises anything
        return f"{name} cannot run here ({type(error).__name__}: {error}): pip install 'kvgpt[peers]'"


def streams(name: str) -> bool:
    """Whether what this name stands for decodes a token at a time: each variant does, and most peers."""
    return name not in PEERS or _load(name).streams


def build(name: str, model: "GPT", batch_size: int = 1, max_length: int | None = None) -> "Peer":
    """The peer of this name over a model of ours; ValueError where it is unknown or absent, or cannot
    compute the model.
    """
    reason = absent(name)
    if reason is not None:
        raise ValueError(reason)
    return _load(name)(model, batch_size, max_length)


def _load(name: str) -> "type[Peer]":
    module, _, kind = PEERS[name].partition(":")
    found: type[Peer] = getattr(import_module(module), kind)
    return found
