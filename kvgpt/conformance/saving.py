"""H: what is saved and loaded is the same to the bit, and so is what comes after."""

import tempfile
from pathlib import Path

import torch

from kvgpt.conformance.contract import refused, same_bits
from kvgpt.conformance.promise import promise
from kvgpt.conformance.subject import Stage


@promise("H1", "A cache that is saved and loaded holds the same bits and goes on alike.", "state", past=True)
def save_and_load(stage: Stage, sizes: tuple[int, ...], n: int) -> None:
    engine, _ = stage.fed(sizes)
    twin = stage.engine()
    with tempfile.TemporaryDirectory() as folder:
        engine.save(Path(folder) / "cache.safetensors")
        twin.load(Path(folder) / "cache.safetensors")
    stage.counts(twin, sum(sizes))
    before, after = engine.cache.state(), twin.cache.state()
    assert before.keys() == after.keys() and all(same_bits(before[name], after[name]) for name in before), "other bits"
    for step in range(n):
        other = stage.ids(1, salt=1 + step)
        assert torch.equal(engine.decode(other), twin.decode(other)), f"step {step} after loading differs"


@promise("H2", "What was saved from another model, shape or length is refused, and nothing is changed.", "state")
def saved_for_another(stage: Stage, sizes: tuple[int, ...]) -> None:
    engine, ids = stage.fed(sizes)
    other = Stage(stage.subject, type(stage.scene)(**{**vars(stage.scene), "seed": stage.scene.seed + 1}))
    short = stage.engine(room=sum(sizes) - 1) if sum(sizes) > 1 and "window" not in stage.subject.abilities else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.safetensors"
        engine.save(path)
        for what, stranger in (("model", other.engine()), ("batch_size", stage.engine(stage.scene.batch + 1))):
            refused(f"a cache of another {what}", lambda one=stranger: one.load(path), ValueError, naming=what)  # type: ignore[misc]
            assert stranger.cache.length == 0, f"a refused file of another {what} changed the length"
        if short is not None:
            refused("a cache longer than the room", lambda: short.load(path), ValueError, naming="room")
    more = stage.ids(1, salt=1)
    if "answer" in stage.subject.abilities:
        stage.agree(engine.decode(more).unsqueeze(1), torch.cat([ids, more], dim=1), sum(sizes))
