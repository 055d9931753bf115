"""D: bytes. What a cache says, what its storages hold and, for a built-in one, the closed form are one number."""

from kvgpt import costs
from kvgpt.caches.base import KVCache
from kvgpt.conformance.promise import promise
from kvgpt.conformance.subject import Stage, Subject
from kvgpt.storages import distinct_bytes, tensors_of

LARGEST_TENSOR = 2**31 - 1  # elements; 32-bit offsets wrap beyond (Dao-AILab/flash-attention#772)


def count(subject: Subject, cache: KVCache) -> None:
    """Assert that ``nbytes`` is what the distinct storages within reach of the cache hold."""
    held = distinct_bytes(tensors_of(cache)) - cache.position.untyped_storage().nbytes()
    assert cache.nbytes == held, f"nbytes says {cache.nbytes}, its storages hold {held} after {cache.length} tokens"


@promise("D1", "nbytes is what the storages hold, shared ones once, whatever has been done.")
def bytes_held(stage: Stage, sizes: tuple[int, ...], rows: tuple[int, ...], kept: int) -> None:
    engine, _ = stage.fed(sizes)
    abilities, window = stage.subject.abilities, stage.window[0]
    count(stage.subject, engine.cache)
    if "fork" in abilities:
        twin = engine.fork()
        count(stage.subject, twin.cache)
        both = distinct_bytes(tensors_of([engine.cache, twin.cache]))
        alone = sum(distinct_bytes(tensors_of(one.cache)) for one in (engine, twin))
        assert both == alone, f"a fork shares {alone - both} bytes with its original"
    if "crop" in abilities and (window is None or sum(sizes) <= window):
        engine.crop(kept)
        count(stage.subject, engine.cache)
    if "select" in abilities:
        engine.select(list(rows))
        count(stage.subject, engine.cache)
    engine.reset()
    count(stage.subject, engine.cache)


@promise("D2", "The bytes are the closed form's: owners x 2 x rows x heads x room x (numbers and scales).", "built-in")
def closed_form(stage: Stage, sizes: tuple[int, ...]) -> None:
    variant = stage.subject.variant
    assert variant is not None, "a built-in cache has a variant"
    room = max(sum(sizes), stage.subject.least_room)
    engine = stage.engine(room=room)
    stage.feed(engine, stage.ids(room), [*sizes, *[1] * (room - sum(sizes))])
    formula = costs.cache_bytes(stage.config, variant, stage.scene.batch, room, stage.subject.dtype)
    assert engine.cache.nbytes == formula, f"nbytes says {engine.cache.nbytes}, the closed form {formula}"
    largest = max((tensor.numel() for tensor in tensors_of(engine.cache)), default=0)
    assert largest <= LARGEST_TENSOR, f"a tensor of {largest} elements: offsets of 32 bits wrap"
