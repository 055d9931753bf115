"""Windows: exactly the banded model of the whole history, at the edges and for twenty contexts on end."""

import pytest
import torch

import kvgpt
from kvgpt.caches import window
from kvgpt.conformance import oracle, strategies, tolerances

SIZES = {"n_layer": 3, "n_head": 2, "n_embd": 16, "vocab_size": 31}
LEARNED = strategies.model(kvgpt.GPTConfig(**SIZES, block_size=64), 0)
ROTARY = strategies.model(kvgpt.GPTConfig(**SIZES, block_size=16, position_embedding="rotary"), 0)
IDS = strategies.ids(2, 60, 0)
STORAGES = ("dense", "dense-cat", "int8", "int8-unfused")


def fed(model, variant, room, sizes):
    engine = kvgpt.Engine(model, variant, 2, max_length=room)
    chunks = IDS[:, : sum(sizes)].split(sizes, dim=1)
    return torch.cat([engine.prefill(chunk, every_position=True) for chunk in chunks], dim=1), engine


@pytest.mark.parametrize("model", [LEARNED, ROTARY], ids=["learned", "rotary"])
@pytest.mark.parametrize(("room", "sinks"), [(1, 0), (8, 0), (8, 3), (8, 7), (60, 4)])
@pytest.mark.parametrize("storage", [*STORAGES, "int8+cla2"])
def test_at_every_edge_a_window_is_the_banded_model(storage, room, sinks, model):
    variant = f"{storage}+window" + (f"+sinks{sinks}" if sinks else "")
    for total in sorted({room - 1, room, min(room + 1, 60), min(2 * room + 1, 60), 60} - {0}):
        for sizes in ([total], [1] * total, [max(1, total - 3), *([1] * min(3, total - 1))]):
            out, engine = fed(model, variant, room, sizes)
            group, ids = 2 if "cla2" in storage else 1, IDS[:, :total]
            truth = oracle.logits(model.state_dict(), ids, 2, group, None, engine.cache.round_trip, room, sinks)
            verdict = tolerances.exact(out, truth)
            assert verdict, f"{variant} of {room} fed {sizes}: {verdict}"


@pytest.mark.parametrize("variant", ["dense+window", "int8+window", "dense+window+sinks4", "int8+window+cla2"])
def test_twenty_contexts_on_end_stay_exact_and_take_no_more_room(variant):
    context, ids = ROTARY.config.block_size, strategies.ids(1, 20 * 16, 3)
    engine = kvgpt.Engine(ROTARY, variant, 1, max_length=context)
    held, out = engine.cache.nbytes, []
    for token in ids.split(1, dim=1):
        out.append(engine.decode(token))
        assert engine.cache.nbytes == held
    assert engine.length == 20 * context and engine.room is None
    parts = kvgpt.Variant.parse(variant)
    round_trip = engine.cache.round_trip
    truth = oracle.logits(
        ROTARY.state_dict(), ids, 2, 2 if parts.sharing else 1, None, round_trip, context, parts.sinks
    )
    verdict = tolerances.exact(torch.stack(out, dim=1), truth)
    assert verdict, str(verdict)


def test_twenty_windows_on_end_within_the_learned_positions():
    model = strategies.model(kvgpt.GPTConfig(**SIZES, block_size=160), 0)
    ids = strategies.ids(1, 160, 3)
    engine = kvgpt.Engine(model, "int8+window", 1, max_length=8)
    out = torch.stack([engine.decode(token) for token in ids.split(1, dim=1)], dim=1)
    truth = oracle.logits(model.state_dict(), ids, 2, round_trip=engine.cache.round_trip, window=8)
    assert tolerances.exact(out, truth)
    with pytest.raises(ValueError, match="160 tokens seen and 1 more: this engine has room for 160"):
        engine.decode(ids[:, :1])


@pytest.mark.parametrize("storage", STORAGES)
def test_what_a_window_reads_back_is_in_the_order_in_which_it_came(storage):
    _, engine = fed(ROTARY, f"{storage}+window+sinks2", 6, [9, 1, 5, 1])
    plain = kvgpt.Engine(ROTARY, storage, 2, max_length=16)
    plain.prefill(IDS[:, :16])
    kept = torch.tensor([0, 1, 12, 13, 14, 15])
    for mine, theirs in zip(engine.cache.read(0), plain.cache.read(0), strict=True):
        assert torch.allclose(mine, theirs[:, :, kept], atol=1e-6)


def test_sinks_leave_room_for_what_is_recent():
    with pytest.raises(ValueError, match=r"4 sinks in a window of 4: .* or name fewer sinks$"):
        kvgpt.Engine(ROTARY, "window+sinks4", max_length=4)


def test_one_class_for_one_window():
    assert kvgpt.Engine(ROTARY, "window").recipe.cache_class is kvgpt.Engine(LEARNED, "dense+window").recipe.cache_class
    assert issubclass(kvgpt.Engine(ROTARY, "int8+window").recipe.cache_class, window.WindowCache)


def test_a_follower_of_a_chunk_must_come_before_the_next_layer():
    shape = kvgpt.KVShape(2, 1, 1, 4, 6, torch.float64, torch.device("cpu"))
    cache = kvgpt.Engine(ROTARY, "window").recipe.cache_class(shape)
    q, k, v = torch.randn(3, 1, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cache.attend(0, q, k, v)
    cache.attend(1, q, k, v)
    with pytest.raises(ValueError, match="layer 0 can be followed only before the next layer appends"):
        cache.attend(0, q)
