"""Engine: a model and one cache, and the only loop that decodes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from kvgpt import registry, snapshot, text
from kvgpt.alignment import align
from kvgpt.caches.base import KVCache, Unsupported
from kvgpt.model import GPT
from kvgpt.recipes import REFERENCE, Variant
from kvgpt.sampling import Sampler, uniforms

POLICIES = ("error",)  # what happens past the positions that the model has learned


class Engine:
    """Feeds tokens to ``model`` through the cache that ``variant`` names: an alias, a canonical name, a Variant, or a
    subclass of :class:`KVCache`.

    ``max_length`` tokens fit, by default the model's ``block_size``; for a windowed cache it is the window.
    ``calibration`` (N, T) int64 are the ids to which
    an aligned variant is fitted, by default 8 contexts of training text, or of random ids for random weights.
    ``check_finite=True`` looks at every step's logits, at the price of a synchronisation on a GPU.
    """

    def __init__(
        self,
        model: GPT,
        variant: str | Variant | type[KVCache] = REFERENCE,
        batch_size: int = 1,
        max_length: int | None = None,
        positions: str = "error",
        calibration: Tensor | None = None,
        check_finite: bool = False,
    ) -> None:
        if positions not in POLICIES:
            raise ValueError(f"positions={positions!r}: known policies: {', '.join(POLICIES)}")
        block_size = model.config.block_size
        self.max_length = block_size if max_length is None else max_length
        if not 1 <= self.max_length <= block_size:
            raise ValueError(f"max_length={max_length}: the model has learned positions for 1 to {block_size} tokens")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1")
        self.recipe = registry.resolve(variant)
        self.positions = positions
        self.check_finite = check_finite

        def fit(plain: GPT, sharing: str) -> GPT:
            ids = text.calibration(plain.config, plain.weights) if calibration is None else calibration
            return align(plain, ids, sharing=sharing)

        self.model = self.recipe.model(model, fit)
        self.cache = self.recipe.cache(self.model.kv_shape(batch_size, self.max_length))
        self._history = self._nothing()

    @property
    def batch_size(self) -> int:
        return self.cache.shape.batch_size

    @property
    def room(self) -> int:
        """Tokens that fit: a window has no end of its own, the learned positions have."""
        return self.max_length if self.cache.window is None else self.model.config.block_size

    def prefill(self, ids: Tensor, every_position: bool = False) -> Tensor:
        """Ids (B, T) int64 -> logits (B, V) of the last position, or (B, T, V). Continues where the cache stands."""
        self._check_ids(ids)
        return self._step(ids, every_position)

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, 1) int64 -> logits (B, V) of what comes next."""
        self._check_ids(ids)
        if ids.size(1) != 1:
            raise ValueError(f"decode takes one token a row, found {ids.size(1)}: use prefill")
        return self._step(ids, every_position=False)

    def generate(
        self,
        ids: Tensor,
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | Sequence[int] | None = None,
        eos: int | None = None,
    ) -> Tensor:
        """Ids (B, T) int64 -> (B, T + max_new_tokens): the prompt and what follows it, in a fresh cache.

        A row that has produced ``eos`` is padded with it. ``seed`` is one for all rows or one for each.
        """
        new = list(self.stream(ids, max_new_tokens, temperature, top_k, top_p, seed, eos))
        padding = ids.new_full((ids.size(0), max_new_tokens - len(new)), 0 if eos is None else eos)
        return torch.cat([ids.to(self._device), *new, padding.to(self._device)], dim=1)

    def stream(
        self,
        ids: Tensor,
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | Sequence[int] | None = None,
        eos: int | None = None,
    ) -> Iterator[Tensor]:
        """The new tokens of :meth:`generate`, (B, 1) at a time, until every row has produced ``eos``."""
        self._check_ids(ids, length=0)
        if max_new_tokens < 0:
            raise ValueError(f"max_new_tokens={max_new_tokens}: must be at least 0")
        if ids.size(1) + max_new_tokens - 1 > self.room:
            raise ValueError(
                f"a prompt of {ids.size(1)} tokens and {max_new_tokens} new ones: the last is not fed back, "
                f"so {ids.size(1) + max_new_tokens - 1} must fit, and this engine has room for {self.room}"
            )
        if eos is not None and not 0 <= eos < self.model.config.vocab_size:
            raise ValueError(f"eos={eos}: token ids go from 0 to {self.model.config.vocab_size - 1}")
        sampler = Sampler(temperature, top_k, top_p)
        drawn = torch.zeros(ids.size(0), max_new_tokens, dtype=torch.float64)  # a greedy row needs no chance
        if temperature:
            drawn = uniforms(seed, ids.size(0), max_new_tokens)
        return self._stream(ids, sampler, drawn.to(self._device), eos)

    def _stream(self, ids: Tensor, sampler: Sampler, drawn: Tensor, eos: int | None) -> Iterator[Tensor]:
        self.reset()
        finished = torch.zeros(ids.size(0), 1, dtype=torch.bool, device=self._device)
        for u in drawn.unbind(dim=1):
            ids = sampler.pick(self._step(ids, every_position=False), u)  # (B, 1)
            if eos is not None:
                ids = ids.masked_fill(finished, eos)
                finished = finished | (ids == eos)
            yield ids
            if eos is not None and finished.all():
                return

    @torch.inference_mode()
    def _step(self, ids: Tensor, every_position: bool) -> Tensor:
        ids = ids.to(self._device)
        fed = ids
        if self.cache.stateless:
            fed = self._history = torch.cat([self._history, ids], dim=1)
            self.cache.reset()
        logits = self.model(fed, self.cache, last_only=not every_position)[:, -ids.size(1) :]  # (B, T or 1, V)
        self.cache.advance(fed.size(1))
        if self.check_finite and not logits.isfinite().all():
            row = int((~logits.isfinite()).flatten(1).any(dim=1).nonzero()[0])
            raise FloatingPointError(f"row {row} has logits that are not finite after {self.cache.length} tokens")
        return logits if every_position else logits[:, -1]

    def reset(self) -> None:
        """Forget everything. A cache that cannot is replaced by a fresh one."""
        try:
            self.cache.reset()
        except Unsupported:
            self.cache = self.recipe.cache(self.cache.shape)
        self._history = self._nothing()

    def crop(self, length: int) -> None:
        """Keep the first ``length`` tokens."""
        self.cache.crop(length)
        self._history = self._history[:, :length]

    def select(self, rows: Tensor | Sequence[int]) -> None:
        """Keep these rows of the batch, in this order; repeats and another count are allowed."""
        index = self.cache.rows(rows)
        self.cache.select(index)
        self._history = self._history[index]

    def fork(self) -> Self:
        """An engine over the same model whose cache goes its own way from here."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.cache = self.cache.fork()
        return twin

    def save(self, path: str | Path) -> None:
        """Write what the cache holds, and for which model, to one file of safetensors, whole or not at all."""
        held = {**self.cache.state(), "history": self._history}
        snapshot.write(Path(path), held, {**self._identity(), "length": self.cache.length})

    def load(self, path: str | Path) -> None:
        """Go on where :meth:`save` stood. ValueError for another model, cache or shape, and for a damaged file."""
        held, header = snapshot.read(Path(path))
        for name, mine in self._identity().items():
            if header.get(name) != mine:
                raise ValueError(f"{path}: {name} is {header.get(name)!r}, this engine's is {mine!r}")
        length, history = header.get("length"), held.pop("history", None)
        expected = (self.batch_size, length if self.cache.stateless else 0)
        if type(length) is not int or not 0 <= length <= self.room:
            raise ValueError(f"{path}: length is {length!r}, this engine has room for {self.room}")
        if history is None or tuple(history.shape) != expected or history.dtype != torch.int64:
            raise ValueError(f"{path}: no history of shape {expected}")
        try:
            self.cache.restore({name: tensor.to(self._device) for name, tensor in held.items()}, length)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self._history = history.to(self._device)

    def _identity(self) -> dict[str, Any]:
        """What a saved cache must agree with."""
        shape, cache_class = self.cache.shape, type(self.cache)
        sizes = {name: getattr(shape, name) for name in ("n_layer", "batch_size", "n_head", "head_dim")}
        window = {"window": self.cache.window, "sinks": self.cache.sinks}
        name = f"{cache_class.__module__}:{cache_class.__qualname__}"
        return {"model": self.model.fingerprint, "cache": name, "dtype": str(shape.dtype), **sizes, **window}

    @property
    def _device(self) -> torch.device:
        return self.cache.position.device

    def _nothing(self) -> Tensor:
        """What a stateless cache's history starts as: (B, 0)."""
        return torch.empty(self.batch_size, 0, dtype=torch.int64, device=self._device)

    def _check_ids(self, ids: Tensor, length: int | None = None) -> None:
        """Refuse what cannot be fed after ``length`` tokens (default: those seen), before anything is computed."""
        held = self.cache.length if length is None else length
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2:
            found = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise ValueError(f"ids must be an int64 tensor of shape (B, T), found {found}")
        if ids.size(0) != self.batch_size:
            raise ValueError(f"ids have {ids.size(0)} rows, this engine was made for batch_size={self.batch_size}")
        if not ids.size(1):
            raise ValueError("ids are empty: a prompt needs at least one token, such as the end-of-text token")
        if held + ids.size(1) > self.room:
            raise ValueError(
                f"{held} tokens seen and {ids.size(1)} more: this engine has room for {self.room} "
                f"(positions={self.positions!r}); shorten the prompt, or raise max_length up to "
                f"block_size={self.model.config.block_size}"
            )
        vocab_size = self.model.config.vocab_size
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= vocab_size:
            row, column = (int(place) for place in ((ids < 0) | (ids >= vocab_size)).nonzero()[0])
            raise ValueError(
                f"token id {int(ids[row, column])} at row {row}, position {column}: ids go from 0 to {vocab_size - 1}"
            )
