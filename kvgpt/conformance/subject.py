"""What is under test, and the stage that it is put on: a model, a prompt, and the right answer to compare with."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from kvgpt import perplexity, registry, sampling
from kvgpt.caches.base import KVCache, KVShape
from kvgpt.config import GPTConfig, sharing_group
from kvgpt.conformance import oracle, strategies, tolerances, uncached
from kvgpt.conformance.lookup import Lookup
from kvgpt.conformance.scene import LONGEST, VOCABULARY, Scene
from kvgpt.conformance.stretches import begun, reachable, stretches
from kvgpt.engine import Engine
from kvgpt.model import GPT
from kvgpt.recipes import REFERENCE, Variant

OPERATIONS = ("reset", "crop", "select", "fork", "state")  # that a cache may offer


@dataclass(frozen=True)
class Subject:
    """A cache by its variant's name, as ``package.module:Class[+cla2]`` or as a class; ``dtype`` by its name in torch.

    The other fields are the parts of kvgpt that it runs with. They are fields so that broken ones can take their place.
    """

    cache: str | type[KVCache]
    dtype: str = "float64"
    device: str = "cpu"
    engine: type[Engine] = Engine
    build: Callable[[GPTConfig, int, torch.dtype], GPT] = field(default=strategies.model, repr=False)
    sampler: type[sampling.Sampler] = sampling.Sampler
    uniforms: Callable[..., Tensor] = field(default=sampling.uniforms, repr=False)
    windows: type[perplexity.Windows] = perplexity.Windows
    forced: Callable[[Engine, perplexity.Windows], perplexity.Score] = field(
        default=perplexity.teacher_forced, repr=False
    )
    stepped: Callable[[Engine, perplexity.Windows], perplexity.Score] = field(
        default=perplexity.autoregressive, repr=False
    )

    @cached_property
    def recipe(self) -> registry.Recipe:
        if isinstance(self.cache, str) and ":" in self.cache:
            return registry.resolve(registry.plug_in(self.cache)[0])
        return registry.resolve(self.cache)

    @property
    def name(self) -> str:
        return self.cache if isinstance(self.cache, str) else self.recipe.name

    @property
    def variant(self) -> Variant | None:
        """The recipe of a built-in cache; None for a stranger's."""
        return self.recipe.variant

    @cached_property
    def sharings(self) -> tuple[str | None, ...]:
        """The sharings to draw from: a stranger's cache must serve a model of any."""
        if self.variant is not None:
            return (self.variant.sharing,)
        asked = registry.plug_in(self.cache)[1] if isinstance(self.cache, str) else None
        return (asked,) if asked else (None, "cla2", "cla3")

    @cached_property
    def abilities(self) -> frozenset[str]:
        """What this cache declares of itself, in the words that properties use for what they need."""
        kind, dtype = self.recipe.cache_class, getattr(torch, self.dtype)
        shape = KVShape(1, 1, 1, 2, LONGEST, dtype, torch.device(self.device))
        try:
            one = self.cache_of(shape)
        except Exception as error:
            raise ValueError(f"{self.name} cannot be built for {shape}: {type(error).__name__}: {error}") from error
        windowed = one.window is not None
        declared = {
            "graphable": one.graphable,
            "keeps": not kind.stateless,
            "lossy": kind.lossy,
            "map": kind.lossy and kind.offers("round_trip"),
            "answer": not kind.lossy or kind.offers("round_trip"),
            "bound": kind.error_bound is not None,
            "symmetric": kind.symmetric,
            "window": windowed,
            "no window": not windowed,
            "built-in": self.variant is not None,
            "aligned": self.variant is not None and self.variant.align is not None,
            "reference": self.variant == Variant.parse(REFERENCE) and self.dtype == "float64",
            "float64": self.dtype == "float64",
            "logits": not kind.lossy or self.dtype == "float64",  # comparable ones: see Stage
            "wide": self.dtype in ("float64", "float32"),
            **{operation: kind.offers(operation) for operation in OPERATIONS},
        }
        return frozenset(ability for ability, has in declared.items() if has)

    @property
    def least_room(self) -> int:
        """The smallest window that a windowed cache can have: its sinks and one place more."""
        return self.recipe.cache_class.sinks + 1

    def cache_of(self, shape: KVShape) -> KVCache:
        return self.recipe.cache(shape)


class Stage:
    """A scene built: the subject on a model of it, and what it must answer."""

    def __init__(self, subject: Subject, scene: Scene) -> None:
        self.subject, self.scene = subject, scene
        self.dtype: torch.dtype = getattr(torch, subject.dtype)
        self.config = GPTConfig(
            n_layer=scene.n_layer,
            n_head=scene.kv_heads * scene.groups,
            n_embd=scene.kv_heads * scene.groups * scene.head_dim,
            vocab_size=VOCABULARY,
            block_size=scene.block,
            n_kv_head=None if scene.groups == 1 else scene.kv_heads,
            position_embedding="rotary" if scene.rotary else "learned",
        )
        self.windowed = "window" in subject.abilities
        self.span = scene.span(self.windowed)
        self.room = scene.room if self.windowed else self.span

    @cached_property
    def plain(self) -> GPT:
        """The model before anything is shared or aligned."""
        return self.subject.build(self.config, self.scene.seed, self.dtype).to(self.device)

    @cached_property
    def model(self) -> GPT:
        """The model that computes the subject's function.

        Codes flip where a number sits on the edge between two: a lossy cache in a low dtype is given numbers that are
        the same however they are fed.
        """
        variant, sharing = self.subject.variant, self.scene.sharing
        if "logits" not in self.subject.abilities:
            config = replace(self.config, sharing=sharing, align=variant.align if variant else None)
            return cast(GPT, Lookup(config, self.scene.seed, self.dtype, self.device))  # all that an engine asks for
        shared = self.plain if variant else self.plain.share(sharing)
        calibration = strategies.ids(2, self.scene.block, self.scene.seed)
        return self.subject.engine(shared, self._runs, 1, self.subject.least_room, calibration=calibration).model

    @property
    def state(self) -> dict[str, Tensor]:
        """The weights that the oracle computes with: the checkpoint's own, unless an alignment changed them."""
        return (self.plain if self.model.config.align is None else self.model).state_dict()

    @property
    def device(self) -> torch.device:
        return torch.device(self.subject.device)

    @property
    def _runs(self) -> str | type[KVCache] | Variant:
        return self.subject.variant or self.subject.recipe.cache_class

    @contextmanager
    def on_its_path(self) -> Iterator[None]:
        """The scene's choice among SDPA's own implementations."""
        if self.scene.path == "math":
            with sdpa_kernel(SDPBackend.MATH):
                yield
        else:
            yield

    def engine(self, batch: int | None = None, room: int | None = None) -> Engine:
        batch, room, positions = batch or self.scene.batch, room or self.room, self.scene.positions
        return self.subject.engine(self.model, self._runs, batch, room, positions=positions)

    def ids(self, length: int, salt: int = 0, batch: int | None = None) -> Tensor:
        """(batch, length) tokens that follow from the scene's seed; another ``salt``, others."""
        return strategies.ids(batch or self.scene.batch, length, self.scene.seed + salt).to(self.device)

    def feed(self, engine: Engine, ids: Tensor, sizes: Sequence[int]) -> Tensor:
        """Logits of every position (B, T, V), ids fed in chunks of these sizes, single tokens by ``decode``."""
        return torch.cat(
            [
                engine.decode(chunk).unsqueeze(1) if chunk.size(1) == 1 else engine.prefill(chunk, every_position=True)
                for chunk in ids.split(list(sizes), dim=1)
            ],
            dim=1,
        )

    def fed(self, sizes: Sequence[int], batch: int | None = None) -> tuple[Engine, Tensor]:
        """An engine that has seen a prompt in chunks of these sizes, and the prompt."""
        engine, ids = self.engine(batch), self.ids(sum(sizes), batch=batch)
        self.feed(engine, ids, sizes)
        return engine, ids

    def agree(self, out: Tensor, history: Tensor, start: int = 0) -> None:
        """Assert that ``out`` (B, n, ·) is the right answer to positions ``start`` and on of ``history`` (B, S)."""
        truths, plains, wholes = [], list[list[Tensor]](), []
        for part in stretches(self.scene.positions, self.scene.block, self.span, start + out.size(1)):
            here = slice(max(start, part.answers) - part.first, part.stop - part.first)
            if here.start < here.stop:
                truth, plain = self._right(history[:, part.first : part.stop], part.positions)
                truths.append(truth[:, here])
                plains.append(plain)
                wholes.append(truth)
        plain = [torch.cat(parts, dim=1) for parts in zip(*plains, strict=True)]
        where = f"after {start} tokens and {out.size(1)} more"
        self._close(out, plain, torch.cat(truths, dim=1), torch.cat(wholes, dim=1), where)

    def _right(self, ids: Tensor, positions: Sequence[float]) -> tuple[Tensor, list[Tensor]]:
        """The oracle's answers to ids (B, S) at these positions, and plain torch's, each (B, S, ·)."""
        window, sinks = self.window
        round_trip = self.probe.round_trip if "map" in self.subject.abilities else None
        if isinstance(self.model, Lookup):
            vectors = list(self.model.vectors(ids, torch.tensor(positions), round_trip))
            truth = torch.cat([_flat(oracle.attention(*qkv, window, sinks)) for qkv in vectors], dim=2)
            paths = uncached.orders(ids.size(1), ids.size(1), self.device, window, sinks)
            return truth, [torch.cat([_flat(path(*qkv, None)) for qkv in vectors], dim=2) for path in paths]
        group, kv = sharing_group(self.scene.sharing), self.config.n_kv_head
        truth = oracle.logits(
            self.state, ids.cpu(), self.config.n_head, group, kv, round_trip, window, sinks, positions
        )
        if self.dtype == torch.float64:
            return truth, []
        return truth, uncached.logits(self.model, ids, window, sinks, positions)

    def begun(self, length: int) -> int:
        """How many of ``length`` tokens the scene's policy has let go for good."""
        return begun(self.scene.positions, self.span, length)

    def reachable(self, length: int) -> int:
        """The least that ``length`` tokens can be cropped to under the scene's policy."""
        return reachable(self.scene.positions, self.span, length)

    def counts(self, engine: Engine, length: int) -> None:
        """Assert that an engine and its cache count ``length`` tokens, on the host and on the device."""
        held = length - self.begun(length)
        counted = engine.length, engine.cache.length, int(engine.cache.position)
        assert counted == (length, held, held), f"after {length} tokens (seen, length, position) is {counted}"

    def attended(self, cache: KVCache, layer: int, q: Tensor, out: Tensor) -> None:
        """Assert that ``out`` (B, H, T, D) is what q sees in all that the cache reads back for ``layer``."""
        k, v = cache.read(layer)
        plain = [path(q, k, v, None) for path in uncached.orders(q.size(2), k.size(2), self.device)]
        truth = oracle.attention(q, k, v)
        self._close(out, plain, truth, truth, f"layer {layer} after {k.size(2)} tokens")

    def _close(self, out: Tensor, plain: Sequence[Tensor], truth: Tensor, whole: Tensor, where: str) -> None:
        """The rule of the dtype: semantics in float64, in others the ratio to plain torch's own error in the whole."""
        if self.dtype == torch.float64:
            verdicts = [tolerances.exact(out.cpu(), truth.cpu())]
        else:
            verdicts = tolerances.by_ratio(out.cpu(), [one.cpu() for one in plain], truth.cpu(), whole.cpu())
        for verdict in verdicts:
            assert verdict, f"{where}: {verdict}"

    @cached_property
    def probe(self) -> KVCache:
        """A cache of this stage that nothing is fed to."""
        return self.engine().cache

    @cached_property
    def window(self) -> tuple[int | None, int]:
        return self.probe.window, self.probe.sinks

    def cache(self, room: int | None = None, batch: int | None = None) -> KVCache:
        """A cache of the scene's shape, without a model."""
        c = self.config
        shape = KVShape(
            c.n_layer, batch or self.scene.batch, c.kv_heads, c.head_dim, room or self.room, self.dtype, self.device
        )
        return self.subject.cache_of(shape)

    def cache_of_size(self, head_dim: int) -> KVCache:
        """A cache of one layer, row and head, with this head_dim and room for two tokens."""
        room = max(2, self.subject.least_room)
        return self.subject.cache_of(KVShape(1, 1, 1, head_dim, room, self.dtype, self.device))

    def vectors(self, n: int, salt: int = 0, batch: int | None = None) -> list[Tensor]:
        """Q (B, H, n, D), k, v (B, H_kv, n, D) that follow from the scene's seed and ``salt``."""
        c, generator = self.config, torch.Generator().manual_seed(self.scene.seed + salt)
        heads = (c.n_head, c.kv_heads, c.kv_heads)
        return [
            torch.randn(batch or self.scene.batch, h, n, c.head_dim, generator=generator).to(self.device, self.dtype)
            for h in heads
        ]

    def step(self, cache: KVCache, n: int, salt: int = 0) -> list[Tensor]:
        """A step of ``n`` tokens through every layer: what each layer's attention gave, (B, H, n, D)."""
        layers = range(cache.shape.n_layer)
        out = [cache.attend(layer, *self.vectors(n, salt + layer, cache.shape.batch_size)) for layer in layers]
        cache.advance(n)
        return out


def _flat(heads: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, H D)."""
    return heads.transpose(1, 2).flatten(2)
