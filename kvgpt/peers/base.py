"""The interface that all peers share, its refusals, and their one loop."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from kvgpt.config import GPTConfig
from kvgpt.model import GPT


class Peer(ABC):
    """Another system that computes ``model``'s function: the same device and dtype, and the same tensors where its
    layout is ours. ``batch_size`` rows of at most ``max_length`` tokens, by default the model's ``block_size``.

    ValueError where the model is no plain GPT-2, or where ``max_length`` tokens have no positions.
    """

    canonical: str  # the name of what runs, with all of its parts
    streams = True  # whether :meth:`stream` can hand over a token before the next is computed

    def __init__(self, model: GPT, batch_size: int = 1, max_length: int | None = None) -> None:
        config = model.config
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1")
        for field in ("n_kv_head", "position_embedding", "sharing", "align"):
            usual = getattr(GPTConfig, field)
            if getattr(config, field) != usual:
                raise ValueError(f"{field}={getattr(config, field)!r}: a peer computes a plain GPT-2, with {usual!r}")
        if model.coded:
            raise ValueError(
                f"weights {model.weights!r}: a peer has no such codes: give it the model they were made from"
            )
        self.batch_size = batch_size
        self.max_length = config.block_size if max_length is None else max_length
        if not 1 <= self.max_length <= config.block_size:
            raise ValueError(f"max_length={max_length}: the model has learned positions for 1 to {config.block_size}")
        self.length = 0
        self._vocab_size = config.vocab_size
        self._device = model.device

    @classmethod
    def absent(cls) -> str | None:
        """Why peers of this class cannot run here although what they import is there; None where they can."""
        return None

    @abstractmethod
    def _forward(self, ids: Tensor) -> Tensor:
        """Ids (B, T), checked and on the device -> logits (B, V) of the last, after the ``length`` tokens before."""

    @abstractmethod
    def _empty(self) -> None:
        """Forget every token."""

    @property
    @abstractmethod
    def weights_bytes(self) -> int:
        """Bytes of the parameters, each storage counted once."""

    @property
    @abstractmethod
    def cache_bytes(self) -> int:
        """Bytes of all that the cache holds, each storage counted once."""

    def prefill(self, ids: Tensor) -> Tensor:
        """Ids (B, T) int64 -> logits (B, V) of the last position. Continues where the cache stands."""
        self._check_ids(ids, self.length)
        return self._step(ids)

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, 1) int64 -> logits (B, V) of what comes next."""
        self._check_ids(ids, self.length)
        if ids.size(1) != 1:
            raise ValueError(f"decode takes one token a row, found {ids.size(1)}: use prefill")
        return self._step(ids)

    def generate(self, ids: Tensor, max_new_tokens: int = 32) -> Tensor:
        """Ids (B, T) int64 -> (B, T + max_new_tokens): the prompt and its greedy continuation, in an empty cache."""
        return torch.cat([ids.to(self._device), *self.stream(ids, max_new_tokens)], dim=1)

    def stream(self, ids: Tensor, max_new_tokens: int = 32) -> Iterator[Tensor]:
        """The new tokens of :meth:`generate`, (B, 1) at a time."""
        self._check_request(ids, max_new_tokens)
        return self._stream(ids, max_new_tokens)

    def _stream(self, ids: Tensor, max_new_tokens: int) -> Iterator[Tensor]:
        self.reset()
        for _ in range(max_new_tokens):
            ids = self._step(ids).argmax(dim=-1, keepdim=True)  # (B, 1)
            yield ids

    @torch.inference_mode()
    def _step(self, ids: Tensor) -> Tensor:
        logits = self._forward(ids.to(self._device))
        self.length += ids.size(1)
        return logits

    @torch.inference_mode()
    def reset(self) -> None:
        """Forget every token."""
        self._empty()
        self.length = 0

    def _check_request(self, ids: Tensor, max_new_tokens: int) -> None:
        """Refuse what cannot be generated, before anything is computed. The last token is not fed back."""
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens}: must be at least 1")
        self._check_ids(ids, 0, max_new_tokens - 1)

    def _check_ids(self, ids: Tensor, held: int, more: int = 0) -> None:
        """Refuse what cannot be fed after ``held`` tokens and before ``more``."""
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2 or not ids.numel():
            found = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise ValueError(f"ids must be an int64 tensor of shape (B, T), with T of at least 1, found {found}")
        if ids.size(0) != self.batch_size:
            raise ValueError(f"ids have {ids.size(0)} rows, this peer was made for batch_size={self.batch_size}")
        fed = held + ids.size(1) + more
        if fed > self.max_length:
            raise ValueError(
                f"{held} tokens seen, {ids.size(1)} given and {more} to be fed back: {self.canonical} has room for "
                f"max_length={self.max_length}; shorten them, or build it with room for {fed}"
            )
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= self._vocab_size:
            raise ValueError(f"token ids from {low} to {high}: ids go from 0 to {self._vocab_size - 1}")
