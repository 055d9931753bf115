"""Engine: a model and one cache, and the only loop that decodes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from kvgpt import policies, registry, snapshot, text
from kvgpt.alignment import align
from kvgpt.caches.base import KVCache, Unsupported
from kvgpt.caches.transformers import TransformersStyle
from kvgpt.fastest import fastest
from kvgpt.graphs import Graphed
from kvgpt.model import GPT
from kvgpt.parallel import ALONE, Ranks
from kvgpt.recipes import REFERENCE, Variant
from kvgpt.sampling import Sampler, uniforms
from kvgpt.steps import Steps, cuts


class Engine:
    """Feeds tokens to ``model`` through the cache that ``variant`` names: an alias, a canonical name, a Variant, a
    subclass of :class:`KVCache`, or a class of transformers-style caches.

    ``max_length`` tokens fit, by default the model's ``block_size``; for a windowed cache it is the window.
    ``positions`` names what happens past the positions that the model has learned, see :mod:`kvgpt.policies`.
    ``calibration`` (N, T) int64 are the ids to which an aligned variant is fitted, by default 8 contexts of training
    text, or of random ids for random weights. ``check_finite=True`` looks at every step's logits, at the price of a
    synchronisation on a GPU. ``steps`` makes what runs the steps, see :mod:`kvgpt.steps`: without it what serves the
    device best, which on a GPU, and on a CPU for one row of a large model, calls no module of the model in a decode
    step. ``ranks`` are the processes over which the model is split, see :mod:`kvgpt.parallel`: each makes the same
    calls of an engine of its own, with the same ids.

    ValueError where the variant is unknown, the model was made for another sharing, or ``max_length`` tokens have no
    positions.
    """

    streams = True  # whether a token is handed over before the next is computed: not every peer does

    def __init__(
        self,
        model: GPT,
        variant: str | Variant | type[KVCache] | type[TransformersStyle] = REFERENCE,
        batch_size: int = 1,
        max_length: int | None = None,
        positions: str = "error",
        calibration: Tensor | None = None,
        check_finite: bool = False,
        steps: Callable[[GPT, policies.Policy], Steps | Graphed] = fastest,
        ranks: Ranks = ALONE,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1")
        block_size, n_position = model.config.block_size, model.config.n_position
        self.max_length = block_size if max_length is None else max_length
        most = policies.policy(positions, n_position, max(block_size, self.max_length), windowed=True).held(n_position)
        if self.max_length < 1 or (most is not None and self.max_length > most):
            raise ValueError(
                f"max_length={max_length}: the model has learned positions for 1 to {most} tokens with positions="
                f"{positions!r}; shorten it, or name {policies.that_allow(self.max_length, n_position, windowed=False)}"
            )
        self.recipe = registry.resolve(variant)
        self.check_finite = check_finite

        def fit(plain: GPT, sharing: str, kind: str) -> GPT:
            ids = text.calibration(plain.config, plain.weights) if calibration is None else calibration
            return align(plain, ids, sharing, kind)

        self.ranks = ranks
        self.model = ranks.part(self.recipe.model(model, fit)).prepare(rows=batch_size)
        self.cache = self.recipe.cache(self.model.kv_shape(batch_size, self.max_length))
        self._begun, self._history = 0, self._nothing()
        windowed = self.cache.window is not None
        self._span = block_size if windowed else self.max_length
        self.policy = policies.policy(positions, n_position, self._span, windowed)
        self.steps = steps(self.model, self.policy)

    @property
    def batch_size(self) -> int:
        """B: rows of the cache now."""
        return self.cache.shape.batch_size

    @property
    def positions(self) -> str:
        """The policy past the learned positions, with its number."""
        return self.policy.name

    @property
    def length(self) -> int:
        """Tokens seen since :meth:`reset`, whether the cache still holds them or not."""
        return self._begun + self.cache.length

    @property
    def room(self) -> int | None:
        """Tokens that can be fed in all: as many as there are positions for, and without a window as the cache holds.
        None where there is no end.
        """
        room = self.policy.room(self.model.config.n_position)
        if self.cache.window is not None or self.policy.recomputes:
            return room
        return self.max_length if room is None else min(room, self.max_length)

    def prefill(self, ids: Tensor, every_position: bool = False) -> Tensor:
        """Ids (B, T) int64 -> logits (B, V) of the last position, or with ``every_position`` (B, T, V), in the model's
        dtype. Continues where the cache stands.

        ValueError, before anything is written, where ids have another dtype, shape or number of rows, name no token, or
        are more than there is room for.
        """
        self._check_ids(ids)
        return self._step(ids, every_position)

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, 1) int64 -> logits (B, V) of what comes next; ValueError as for :meth:`prefill`."""
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
        """Ids (B, T) int64 -> (B, T + max_new_tokens) int64: the prompt and what follows it, in a fresh cache.

        Greedy where ``temperature`` is 0, else drawn from the ``top_k`` likeliest tokens or the smallest set of chance
        ``top_p``. A row that has produced ``eos`` is padded with it. ``seed`` is one for all rows or one for each. The
        last token is not fed back: T + max_new_tokens - 1 must fit. ValueError, before anything is computed, where they
        do not, and as for :meth:`prefill`.
        """
        looks = self.check_finite or self._remembers  # at every token
        together = 1 if looks else self.steps.together
        new = self.stream(ids, max_new_tokens, temperature, top_k, top_p, seed, eos, together)
        whole = torch.cat([ids.to(self._device), *new], dim=1)
        missing = ids.size(1) + max_new_tokens - whole.size(1)
        return torch.nn.functional.pad(whole, (0, missing), value=0 if eos is None else eos)

    def stream(
        self,
        ids: Tensor,
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | Sequence[int] | None = None,
        eos: int | None = None,
        together: int = 1,
    ) -> Iterator[Tensor]:
        """The new tokens of :meth:`generate`, (B, 1) or up to (B, ``together``) at a time, until every row has produced
        ``eos``.
        """
        self._check_ids(ids, length=0)
        if max_new_tokens < 0:
            raise ValueError(f"max_new_tokens={max_new_tokens}: must be at least 0")
        fed = ids.size(1) + max_new_tokens - 1
        asked = f"a prompt of {ids.size(1)} tokens and {max_new_tokens} new ones"
        self._check_room(fed, f"{asked}: the last is not fed back, so {fed} must fit")
        if eos is not None and not 0 <= eos < self.model.config.vocab_size:
            raise ValueError(f"eos={eos}: token ids go from 0 to {self.model.config.vocab_size - 1}")
        sampler = Sampler(temperature, top_k, top_p)
        drawn = torch.zeros(ids.size(0), max_new_tokens, dtype=torch.float64)  # a greedy row needs no chance
        if temperature:
            drawn = self.ranks.same(uniforms(seed, ids.size(0), max_new_tokens))
        return self._stream(ids, sampler, drawn.to(self._device), eos, together)

    def _stream(self, ids: Tensor, sampler: Sampler, drawn: Tensor, eos: int | None, together: int) -> Iterator[Tensor]:
        self.reset()
        finished = torch.zeros(ids.size(0), 1, dtype=torch.bool, device=self._device)
        for u in drawn.split(cuts(drawn.size(1), together), dim=1):
            new = self._extend(ids, sampler, u)  # (B, n)
            if eos is not None:
                ends = new == eos
                new = new.masked_fill(finished | (ends.cumsum(dim=1) > ends), eos)
                finished = new[:, -1:] == eos
            yield new
            if eos is not None and finished.all():
                return
            ids = new[:, -1:]

    @torch.inference_mode()
    def _extend(self, ids: Tensor, sampler: Sampler, drawn: Tensor) -> Tensor:
        """Feed ids (B, T) and, but for the last, the tokens that are picked with drawn (B, n) -> (B, n)."""
        if drawn.size(1) > 1:
            return self.steps.several(ids, self.cache, sampler, drawn)
        return sampler.pick(self._step(ids, every_position=False), drawn[:, 0])

    @torch.inference_mode()
    def _step(self, ids: Tensor, every_position: bool) -> Tensor:
        ids = ids.to(self._device)
        if not self.policy.recomputes:
            logits = self._through(ids, every_position)
        else:
            parts = []
            while ids.size(1):
                if self.cache.length == self._span:
                    self._begin_again()
                n = self._span - self._history.size(1)
                parts.append(self._through(ids[:, :n], every_position))
                ids = ids[:, n:]
            logits = torch.cat(parts, dim=1)  # (B, T or as many as there were parts, V)
        if self.check_finite and not logits.isfinite().all():
            row = int((~logits.isfinite()).flatten(1).any(dim=1).nonzero()[0])
            raise FloatingPointError(f"row {row} has logits that are not finite after {self.length} tokens")
        return logits if every_position else logits[:, -1]

    def _through(self, ids: Tensor, every_position: bool) -> Tensor:
        """Ids (B, n) that fit, through the model, after the history where the cache holds none of it."""
        fed = ids
        if self._remembers:
            fed = self._history = torch.cat([self._history, ids], dim=1)
            if self.cache.stateless:
                self.cache.reset()
            elif self.cache.length:
                fed = ids
        return self.steps.step(fed, self.cache, last_only=not every_position)[:, -ids.size(1) :]

    def _begin_again(self) -> None:
        """Let go of the oldest tokens and of all that is held; the others are fed once more with the next."""
        kept = self._span - self.policy.recomputes
        self._begun += self.policy.recomputes
        self._history = self._history[:, self._history.size(1) - kept :]
        self._empty()

    def _empty(self) -> None:
        try:
            self.cache.reset()
        except Unsupported:
            self.cache = self.recipe.cache(self.cache.shape)

    def reset(self) -> None:
        """Forget everything. A cache that cannot is replaced by a fresh one."""
        self._empty()
        self._begun, self._history = 0, self._nothing()

    def crop(self, length: int) -> None:
        """Keep the first ``length`` tokens. ValueError where a window or a policy has let go of some of them,
        :class:`Unsupported` where the cache cannot.
        """
        least = self._begun + self._span - self.policy.recomputes if self._begun else -1
        if self._begun and not least < length <= self.length:
            raise ValueError(
                f"crop({length}): of {self.length} tokens the first {self._begun} were let go and the others encoded "
                f"again: {least + 1} to {self.length} can be kept; reset() instead"
            )
        self.cache.crop(length - self._begun)
        self._history = self._history[:, : length - self._begun]

    def select(self, rows: Tensor | Sequence[int]) -> None:
        """Keep these rows of the batch, in this order; repeats and another count are allowed.

        ValueError where one is no row, :class:`Unsupported` where the cache cannot.
        """
        index = self.cache.rows(rows)
        self.cache.select(index)
        self._history = self._history[index]

    def fork(self) -> Self:
        """An engine over the same model whose cache goes its own way; :class:`Unsupported` where it cannot."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.cache, twin.steps = self.cache.fork(), self.steps.fork()
        return twin

    def save(self, path: str | Path) -> None:
        """Write what the cache holds, and for which model, to one file of safetensors, whole or not at all."""
        held = {**self.cache.state(), "history": self._history}
        snapshot.write(Path(path), held, {**self._identity(), "length": self.cache.length, "begun": self._begun})

    def load(self, path: str | Path) -> None:
        """Go on where :meth:`save` stood. ValueError for another model, cache or shape, and for a damaged file."""
        held, header = snapshot.read(Path(path), self._identity())
        length, begun, history = header.get("length"), header.get("begun"), held.pop("history", None)
        expected = (self.batch_size, length if self._remembers else 0)
        let_go = self.policy.recomputes
        most = self._span if let_go else self.room
        if type(length) is not int or length < 0 or (most is not None and length > most):
            raise ValueError(f"{path}: length is {length!r}, this engine has room for {most}")
        if type(begun) is not int or begun < 0 or begun % max(1, let_go) or (begun and not let_go):
            raise ValueError(f"{path}: begun is {begun!r}, which positions={self.positions!r} never come to")
        if history is None or tuple(history.shape) != expected or history.dtype != torch.int64:
            raise ValueError(f"{path}: no history of shape {expected}")
        if history.numel() and not 0 <= int(history.min()) <= int(history.max()) < self.model.config.vocab_size:
            raise ValueError(f"{path}: history has a token id outside 0 to {self.model.config.vocab_size - 1}")
        try:
            self.cache.restore({name: tensor.to(self._device) for name, tensor in held.items()}, length)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self._begun, self._history = begun, history.to(self._device)

    def _identity(self) -> dict[str, Any]:
        """What a saved cache must agree with."""
        shape, cache_class = self.cache.shape, type(self.cache)
        sizes = {name: getattr(shape, name) for name in ("n_layer", "batch_size", "n_head", "head_dim")}
        window = {"window": self.cache.window, "sinks": self.cache.sinks}
        name = f"{cache_class.__module__}:{cache_class.__qualname__}"
        where = {"positions": self.positions, "span": self._span if self.policy.recomputes else None}
        return {"model": self.model.fingerprint, "cache": name, "dtype": str(shape.dtype), **sizes, **window, **where}

    @property
    def _remembers(self) -> bool:
        """Whether tokens must be kept because they may be fed again."""
        return self.cache.stateless or self.policy.recomputes > 0

    @property
    def _device(self) -> torch.device:
        return self.cache.position.device

    def _nothing(self) -> Tensor:
        """What a stateless cache's history starts as: (B, 0)."""
        return torch.empty(self.batch_size, 0, dtype=torch.int64, device=self._device)

    def _check_room(self, tokens: int, what: str) -> None:
        """Refuse more tokens than can be fed, naming what would take them."""
        if self.room is None or tokens <= self.room:
            return
        n_position, windowed = self.model.config.n_position, self.cache.window is not None
        most = self.policy.held(n_position)
        if not windowed and (most is None or self.max_length < tokens <= most):
            way = "raise max_length" if most is None else f"raise max_length up to {most}"
        else:
            way = f"name {policies.that_allow(tokens, n_position, windowed)}"
        raise ValueError(
            f"{what}: this engine has room for {self.room} (positions={self.positions!r}); shorten it, or {way}"
        )

    def _check_ids(self, ids: Tensor, length: int | None = None) -> None:
        """Refuse what cannot be fed after ``length`` tokens (default: those seen), before anything is computed."""
        held = self.length if length is None else length
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2:
            found = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise ValueError(f"ids must be an int64 tensor of shape (B, T), found {found}")
        if ids.size(0) != self.batch_size:
            raise ValueError(f"ids have {ids.size(0)} rows, this engine was made for batch_size={self.batch_size}")
        if not ids.size(1):
            raise ValueError("ids are empty: a prompt needs at least one token, such as the end-of-text token")
        self._check_room(held + ids.size(1), f"{held} tokens seen and {ids.size(1)} more")
        vocab_size = self.model.config.vocab_size
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= vocab_size:
            row, column = (int(place) for place in ((ids < 0) | (ids >= vocab_size)).nonzero()[0])
            raise ValueError(
                f"token id {int(ids[row, column])} at row {row}, position {column}: ids go from 0 to {vocab_size - 1}"
            )
