"""C1 to C6: layers that share keys and values read their owner's, and nobody else writes them."""

from dataclasses import replace

import torch

from kvgpt.alignment import align
from kvgpt.config import ALIGNMENTS, sharing_group
from kvgpt.conformance import oracle, strategies, tolerances
from kvgpt.conformance.contract import same_bits
from kvgpt.conformance.promise import promise
from kvgpt.conformance.subject import Stage


@promise("C1", "Each slot is its own: what is written to one is never read from another.", "keeps")
def slots_apart(stage: Stage, n: int) -> None:
    cache = stage.cache()
    layers = range(cache.shape.n_layer)
    before: list[list[torch.Tensor]] = []
    for layer in layers:
        cache.attend(layer, *stage.vectors(n, layer))
        now = [[part.clone() for part in cache.read(one)] for one in range(layer + 1)]
        for one, (old, new) in enumerate(zip(before, now, strict=False)):
            assert all(map(same_bits, old, new)), f"writing slot {layer} changed slot {one}"
        before = now
    for one in layers:
        for other in range(one):
            pairs = zip(before[one], before[other], strict=True)
            assert not any(torch.equal(mine, theirs) for mine, theirs in pairs), f"slots {other} and {one} read alike"


@promise(
    "C3", "With a sharing the cached model computes what the uncached one with that sharing does.", "answer", "logits"
)
def shared_model(stage: Stage, sizes: tuple[int, ...]) -> None:
    ids = stage.ids(sum(sizes))
    stage.agree(stage.feed(stage.engine(), ids, sizes), ids)
    slots = len(set(stage.model.config.slots))
    assert stage.probe.shape.n_layer == slots, f"{slots} layers own keys and values, the cache has another number"
    group, kv = sharing_group(stage.scene.sharing), stage.config.n_kv_head
    truth = oracle.logits(stage.plain.state_dict(), ids.cpu(), stage.config.n_head, group, kv)
    if stage.dtype == torch.float64:
        verdict = tolerances.exact(stage.plain.share(stage.scene.sharing)(ids).cpu(), truth)
        assert verdict, f"the uncached model under {stage.scene.sharing}: {verdict}"


@promise("C4", "Groups of one layer are no sharing at all, to the bit.", "built-in", "keeps")
def groups_of_one(stage: Stage, sizes: tuple[int, ...]) -> None:
    config = stage.config
    single = type(config)(**{**vars(config), "n_layer": 1})
    plain = stage.subject.build(single, stage.scene.seed, stage.dtype).to(stage.device)
    ids, kind = stage.ids(sum(sizes)), stage.subject.recipe.cache_class
    out = [
        stage.feed(stage.subject.engine(model, kind, stage.scene.batch), ids, sizes)
        for model in (plain, plain.share("cla2"))
    ]
    assert torch.equal(*out), "one layer that shares with none gave other logits than one without sharing"


@promise("C5", "A follower writes nothing.", "keeps")
def followers_only_read(stage: Stage, sizes: tuple[int, ...], n: int) -> None:
    cache = stage.cache()
    for number, size in enumerate(sizes):
        stage.step(cache, size, 10 * number)
    for layer in range(cache.shape.n_layer):
        q, k, v = stage.vectors(n, layer)
        right = cache.attend(layer, q, k, v)
        before, held = [part.clone() for part in cache.read(layer)], cache.nbytes
        assert torch.equal(cache.attend(layer, q), right), (
            f"a follower of slot {layer} got another answer than its owner"
        )
        cache.attend(layer, -q)
        assert all(map(same_bits, before, cache.read(layer))), f"a follower of slot {layer} changed it"
        assert cache.nbytes == held, f"a follower of slot {layer} made the cache grow"
    cache.advance(n)


@promise(
    "C6",
    "Alignment is folded into the weights once: identity maps change nothing, and no step fits anything.",
    "built-in",
    "logits",
)
def alignment(stage: Stage, sizes: tuple[int, ...]) -> None:
    sharing, ids = stage.scene.sharing or "cla2", stage.ids(sum(sizes))
    shared = stage.plain.share(sharing)
    cache = stage.subject.recipe.cache_class
    for name, kind in _alignments(stage).items():
        marked = type(shared)(replace(shared.config, align=name), seed=None)
        same = marked.assign(shared.state_dict(), shared.weights)
        out = [stage.feed(stage.subject.engine(one, cache, stage.scene.batch), ids, sizes) for one in (shared, same)]
        assert torch.equal(*out), f"a model marked {name}, with its weights as they were, computes something else"
        fitted = align(stage.plain, strategies.ids(2, 12, stage.scene.seed), sharing, kind)
        before = [parameter.clone() for parameter in fitted.parameters()]
        engine = stage.subject.engine(fitted, cache, stage.scene.batch)
        stage.feed(engine, ids, sizes)
        assert engine.model is fitted and all(map(torch.equal, before, fitted.parameters())), (
            f"a step changed the weights of a model marked {name}"
        )


def _alignments(stage: Stage) -> dict[str, str]:
    """The alignment of the subject and its kind, all of them where it has none."""
    own = stage.subject.variant.align if stage.subject.variant else None
    return ALIGNMENTS if own is None else {own: ALIGNMENTS[own]}
