"""A1 to A9 and A12: whatever is done to a cache, the answers are those of the model that has none."""

import torch

from kvgpt.conformance.contract import refused
from kvgpt.conformance.promise import promise
from kvgpt.conformance.scene import LONGEST
from kvgpt.conformance.subject import Stage


@promise("A1", "However a prompt is cut, every position's answer is the uncached model's.", "answer", past=True)
def chunks(stage: Stage, sizes: tuple[int, ...]) -> None:
    engine, ids = stage.engine(), stage.ids(sum(sizes))
    stage.agree(stage.feed(engine, ids, sizes), ids)
    stage.counts(engine, sum(sizes))


@promise(
    "A2", "After crop(n) the cache goes on as if only the first n tokens had been fed.", "answer", "crop", past=True
)
def crop(stage: Stage, sizes: tuple[int, ...], kept: int, more: tuple[int, ...]) -> None:
    engine, ids = stage.fed(sizes)
    window = stage.window[0]
    if kept < stage.reachable(sum(sizes)) or (window is not None and engine.cache.length > window):
        refused(f"crop({kept}) of what was let go", lambda: engine.crop(kept), ValueError, naming="crop")
        return
    engine.crop(kept)
    stage.counts(engine, kept)
    other = stage.ids(sum(more), salt=1)
    stage.agree(stage.feed(engine, other, more), torch.cat([ids[:, :kept], other], dim=1), kept)


@promise("A3", "A row's answer does not depend on the rows beside it.", "answer", past=True)
def rows_alone(stage: Stage, sizes: tuple[int, ...]) -> None:
    ids = stage.ids(sum(sizes), batch=3)
    together = stage.feed(stage.engine(3), ids, sizes)
    for row in range(3):
        stage.agree(together[row : row + 1], ids[row : row + 1])
        stage.agree(stage.feed(stage.engine(1), ids[row : row + 1], sizes), ids[row : row + 1])


@promise(
    "A4", "After select(rows) the rows are those, in that order; two selects are one.", "answer", "select", past=True
)
def select(
    stage: Stage, sizes: tuple[int, ...], rows: tuple[int, ...], again: tuple[int, ...], more: tuple[int, ...]
) -> None:
    engine, ids = stage.fed(sizes)
    engine.select(list(rows))
    ids = ids[list(rows)]
    assert engine.cache.shape.batch_size == len(rows), f"selected {len(rows)} rows, shape has another number"
    other = stage.ids(1, salt=1, batch=len(rows))
    history = torch.cat([ids, other], dim=1)
    stage.agree(engine.decode(other).unsqueeze(1), history, ids.size(1))
    engine.select(torch.tensor(again))
    history, other = history[list(again)], stage.ids(sum(more), salt=2, batch=len(again))
    stage.agree(stage.feed(engine, other, more), torch.cat([history, other], dim=1), history.size(1))


@promise("A5", "After reset() nothing of what came before is left.", "answer", past=True)
def reset(stage: Stage, sizes: tuple[int, ...], more: tuple[int, ...]) -> None:
    engine, _ = stage.fed(sizes)
    engine.reset()
    stage.counts(engine, 0)
    other = stage.ids(sum(more), salt=1)
    stage.agree(stage.feed(engine, other, more), other)


@promise("A6", "A fork and its original go their own ways, whatever is done to either.", "answer", "fork", past=True)
def fork(stage: Stage, sizes: tuple[int, ...], n: int) -> None:
    engine, ids = stage.fed(sizes)
    twin = engine.fork()
    ours, theirs = ids, ids
    for step in range(n):  # in turns: each would overwrite what the other reads next
        for mine, salt in ((True, 1 + step), (False, 101 + step)):
            other = stage.ids(1, salt=salt)
            history = torch.cat([ours if mine else theirs, other], dim=1)
            stage.agree((engine if mine else twin).decode(other).unsqueeze(1), history, history.size(1) - 1)
            ours, theirs = (history, theirs) if mine else (ours, history)
    twin.reset()
    other = stage.ids(1, salt=201)
    stage.agree(engine.decode(other).unsqueeze(1), torch.cat([ours, other], dim=1), ours.size(1))


@promise("A7", "What a token reads back as stays the same to the bit while others come.", "keeps", "no window")
def kept(stage: Stage, sizes: tuple[int, ...]) -> None:
    cache = stage.cache()
    before: list[list[torch.Tensor]] = []
    for number, n in enumerate(sizes):
        stage.step(cache, n, salt=10 * number)
        now = [[part.clone() for part in cache.read(layer)] for layer in range(cache.shape.n_layer)]
        for layer, (old, new) in enumerate(zip(before, now, strict=False)):
            for name, one, other in zip("kv", old, new, strict=True):
                same = torch.equal(one, other[:, :, : one.size(2)])
                assert same, f"{name} of layer {layer} changed when {n} tokens came after {one.size(2)}"
        before = now


@promise(
    "A9",
    "A window sees the first sinks and the last others of the whole history, at their own positions.",
    "window",
    past=True,
)
def window(stage: Stage, n: int) -> None:
    size = stage.window[0]
    assert size is not None, "a windowed cache lost its window"
    for total in sorted({size - 1, size, size + 1, 2 * size + 1} - {0}):
        length = min(total, LONGEST - n)
        for sizes in ([length], [1] * length):
            engine, ids = stage.engine(), stage.ids(length + n)
            stage.agree(stage.feed(engine, ids, [*sizes, n]), ids)
            held = [part.size(2) for part in engine.cache.read(0)]
            most = min(size, length + n - stage.begun(length + n))
            enough = (most - 1, most) if size == most else (most,)  # the next token brings itself
            assert held[0] == held[1] in enough, f"a window of {size} holds {held} after {length + n} tokens"


@promise(
    "A12",
    "A token changes no answer before its own, and under a window none that is out of its reach.",
    "answer",
)
def causality(stage: Stage, sizes: tuple[int, ...], place: int) -> None:
    size, sinks = stage.window
    if size is not None:  # as long as may be, so that much is out of reach
        sizes = (*sizes, *[1] * (LONGEST - sum(sizes)))
    ids = stage.ids(sum(sizes))
    changed = ids.clone()
    changed[:, place] = (changed[:, place] + 1) % stage.config.vocab_size
    one, other = (stage.feed(stage.engine(), prompt, sizes) for prompt in (ids, changed))
    assert torch.equal(one[:, :place], other[:, :place]), f"the token at {place} changed an answer before it"
    assert not torch.equal(one[:, place], other[:, place]), f"the token at {place} does not matter at all"
    if size is not None and place >= sinks:
        reach = place + stage.config.n_layer * (size - sinks - 1)
        far = slice(reach + 1, None)
        assert torch.equal(one[:, far], other[:, far]), f"the token at {place} reached beyond {reach}"
