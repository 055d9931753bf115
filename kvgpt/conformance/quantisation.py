"""B1 to B8: what a lossy cache makes of a vector is what it says, within its bound, once, and of that vector alone."""

import torch
from torch import Tensor

from kvgpt.conformance import strategies, tolerances
from kvgpt.conformance.contract import same_bits
from kvgpt.conformance.promise import promise
from kvgpt.conformance.subject import Stage


@promise(
    "B1", "However vectors come, read() returns what round_trip() says of each, the step's own too.", "map", "keeps"
)
def read_is_round_trip(stage: Stage, sizes: tuple[int, ...]) -> None:
    cache = stage.cache()
    said: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(cache.shape.n_layer)]
    for number, n in enumerate(sizes):
        for layer, parts in enumerate(said):
            q, k, v = stage.vectors(n, 10 * number + layer)
            cache.attend(layer, q, k, v)
            parts.append(cache.round_trip(layer, k, v))
            if stage.window[0] is not None:
                continue
            for read, pair in zip(cache.read(layer), zip(*parts, strict=True), strict=True):
                verdict = tolerances.copied(read, torch.cat(pair, dim=2))
                assert verdict, f"layer {layer} after {n} tokens: {verdict}"
        cache.advance(n)


@promise(
    "B2",
    "A vector reads back within the bound that the cache states, of any size and however awkward.",
    "bound",
    "keeps",
)
def bound(stage: Stage, kind: str, size: int, seed: int) -> None:
    for row, back, largest in _stored(stage, kind, size, seed):
        verdict = tolerances.bounded(back, row, _bound(stage) * largest)
        assert verdict, f"a row that is {kind}, of {size} numbers: {verdict}"


@promise(
    "B3", "A number reads back alike wherever it sits in its vector, and however odd its length.", "symmetric", "keeps"
)
def places(stage: Stage, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(-1, 2, (2, size), generator=generator).to(stage.device)
    signs[:, seed % size] = 1
    rows = (signs * (0.5 + torch.rand((), generator=generator))).to(stage.dtype)
    for back in _read_of_size(stage, rows):
        alike = back[:, seed % size].unsqueeze(1) * signs
        assert torch.equal(back, alike), f"equal numbers at places of {size} read back as {back.unique().tolist()}"


@promise("B4", "What a vector reads back as is settled when it is written, and not again.", "map", "keeps", "no window")
def settled(stage: Stage, sizes: tuple[int, ...]) -> None:
    cache, given = stage.cache(), stage.vectors(sum(sizes))
    start = 0
    for n in sizes:
        q, k, v = (part[:, :, start : start + n] for part in given)
        for layer in range(cache.shape.n_layer):
            cache.attend(layer, q, k, v)
        cache.advance(n)
        start += n
    whole = cache.round_trip(0, given[1], given[2])
    for read, said in zip(cache.read(0), whole, strict=True):
        verdict = tolerances.copied(read, said)
        assert verdict, f"fed as {sizes}, against all at once: {verdict}"


@promise("B5", "What has been through the cache once comes through again unchanged.", "map", "symmetric", "wide")
def idempotence(stage: Stage, kind: str, size: int, seed: int) -> None:
    once = _through(stage, _row(stage, kind, size, seed))
    verdict = tolerances.copied(_through(stage, once), once)
    assert verdict, f"a row that is {kind}, of {size} numbers, on its second way: {verdict}"


@promise("B6", "Over many numbers the error is that of rounding evenly within the bound.", "map", "bound")
def spread(stage: Stage, seed: int) -> None:
    x = torch.randn(256, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(stage.dtype)
    back = _through(stage, x).double()
    x = x.double()
    limit = _bound(stage) * x.abs().amax(dim=1, keepdim=True) + tolerances.one_rounding(back, stage.dtype)
    verdict = tolerances.evenly((back - x) / limit)
    assert verdict, str(verdict)


@promise("B7", "A vector reads back as it would alone: no neighbour, sign or power of two changes its error.", "map")
def locality(stage: Stage, kind: str, size: int, seed: int, exponent: int) -> None:
    row, other = _row(stage, kind, size, seed), _row(stage, "outlier", size, seed + 1)
    alone, beside = _through(stage, row), _through(stage, torch.cat([other, row, other]))[1:2]
    assert same_bits(alone, beside), f"a row that is {kind} reads back as something else beside an outlier"
    if "symmetric" in stage.subject.abilities:
        assert torch.equal(_through(stage, -row), -alone), f"a row that is {kind}: -x does not read back as -(x)"
        factor = 2.0**exponent
        assert torch.equal(_through(stage, row * factor), alone * factor), f"a row that is {kind}: {factor} x differs"


@promise("B8", "A row that is not finite reads back as a row of NaN, and leaves the others alone.", "map", "keeps")
def not_finite(stage: Stage, n: int, bad: str) -> None:
    q, k, v = stage.vectors(n)
    right = [part.clone() for part in _read_after(stage, q, k, v)]
    where = (stage.scene.batch - 1, stage.config.kv_heads - 1, n - 1)
    k[(*where, 0)] = v[(*where, -1)] = float(bad)
    for read, clean in zip(_read_after(stage, q, k, v), right, strict=True):
        assert read[where].isnan().all(), f"a row that holds {bad} reads back as {read[where].tolist()}"
        read[where] = clean[where]
        assert same_bits(read, clean), f"a row that holds {bad} changed another"


def _read_after(stage: Stage, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    cache = stage.cache(room=max(4, q.size(2)))
    cache.attend(0, q, k, v)
    return cache.read(0)


def _row(stage: Stage, kind: str, size: int, seed: int) -> Tensor:
    """(1, size) in the stage's dtype."""
    return strategies.awkward_row(kind, size, seed).to(stage.device, stage.dtype).unsqueeze(0)


def _through(stage: Stage, rows: Tensor) -> Tensor:
    """Rows (N, D) as round_trip() returns them, as tokens of one head."""
    vectors = rows.view(1, 1, *rows.shape)
    return stage.probe.round_trip(0, vectors, vectors)[0].reshape(rows.shape)


def _bound(stage: Stage) -> float:
    stated = stage.subject.recipe.cache_class.error_bound
    assert stated is not None, "a cache that is bounded states its bound"
    return stated


def _stored(stage: Stage, kind: str, size: int, seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For K and for V: the rows given, what a cache of this head size reads back, and each row's largest number."""
    rows = torch.cat([_row(stage, kind, size, seed), _row(stage, "plain", size, seed + 1)])  # (2, D)
    largest = rows.double().abs().amax(dim=1, keepdim=True)
    return [(rows, back, largest) for back in _read_of_size(stage, rows)]


def _read_of_size(stage: Stage, rows: Tensor) -> list[Tensor]:
    """Two rows (2, D) as a cache of that head size reads them back, as keys and as values."""
    cache, vectors = stage.cache_of_size(rows.size(1)), rows.view(1, 1, *rows.shape)
    cache.attend(0, torch.zeros_like(vectors), vectors, vectors)
    return [part.reshape(rows.shape) for part in cache.read(0)]
