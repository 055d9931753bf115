"""The engine: what it forgets, keeps, copies and generates, and what it refuses before anything is computed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt.conformance import strategies, tolerances

VARIANTS = list(kvgpt.variants())
CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=31, block_size=24)
PLAIN = strategies.model(CONFIG, seed=1)


class Listed(kvgpt.KVCache):
    """A cache as a user writes it first: three methods, lists and concatenation."""

    def __init__(self, shape):
        self.stored = [[] for _ in range(shape.n_layer)]

    def append(self, layer, k, v):
        self.stored[layer].append((k.clone(), v.clone()))

    def read(self, layer):
        k, v = zip(*self.stored[layer], strict=True)
        return torch.cat(k, dim=2), torch.cat(v, dim=2)

    @property
    def nbytes(self):
        return sum(k.nbytes + v.nbytes for layer in self.stored for k, v in layer)


def engine(variant, batch=2, **options):
    return kvgpt.Engine(PLAIN, variant, batch, calibration=strategies.ids(2, 12, 5), **options)


def fresh(variant, ids):
    return engine(variant, len(ids)).prefill(ids, every_position=True)


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.data())
def test_crop_goes_on_as_if_the_rest_had_never_been_fed(variant, data):
    length = data.draw(st.integers(1, 12), label="length")
    kept = data.draw(st.integers(0, length), label="kept")
    ids, other = strategies.ids(2, length, 0), strategies.ids(2, 5, 1)
    one = engine(variant)
    one.prefill(ids)
    one.crop(kept)
    assert one.cache.length == kept, "crop keeps another number of tokens than it was asked to"
    out = one.prefill(other, every_position=True)
    assert tolerances.exact(out, fresh(variant, torch.cat([ids[:, :kept], other], dim=1))[:, kept:])


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.data())
def test_select_keeps_rows_in_their_new_order(variant, data):
    rows = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=5), label="rows")
    ids, more = strategies.ids(3, 7, 0), strategies.ids(len(rows), 4, 1)
    one = engine(variant, 3)
    one.prefill(ids)
    one.select(rows)
    out = one.prefill(more, every_position=True)
    assert tolerances.exact(out, fresh(variant, torch.cat([ids[rows], more], dim=1))[:, 7:])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fork_and_its_original_go_their_own_ways(variant):
    ids, left, right = strategies.ids(2, 6, 0), strategies.ids(2, 4, 1), strategies.ids(2, 4, 2)
    one = engine(variant)
    one.prefill(ids)
    two = one.fork()
    for step in range(4):  # in turns: each would overwrite what the other reads next
        ours, theirs = one.decode(left[:, step : step + 1]), two.decode(right[:, step : step + 1])
    assert tolerances.exact(ours, fresh(variant, torch.cat([ids, left], dim=1))[:, -1])
    assert tolerances.exact(theirs, fresh(variant, torch.cat([ids, right], dim=1))[:, -1])


@pytest.mark.parametrize("variant", [*VARIANTS, Listed])
def test_reset_forgets_everything(variant):
    one, ids = engine(variant), strategies.ids(2, 9, 3)
    one.prefill(strategies.ids(2, 11, 0))
    one.reset()
    assert one.cache.length == 0
    assert tolerances.exact(one.prefill(ids, every_position=True), fresh(variant, ids))


@pytest.mark.parametrize("sharing", [None, "cla2"])
def test_a_cache_of_three_methods_serves_a_model_of_any_sharing(sharing):
    model, ids = PLAIN.share(sharing), strategies.ids(2, 9, 0)
    one = kvgpt.Engine(model, Listed, 2)
    out = torch.cat([one.prefill(ids[:, :4], every_position=True), one.prefill(ids[:, 4:], every_position=True)], dim=1)
    assert tolerances.exact(out, model(ids))


@pytest.mark.parametrize("operation", ["crop", "select", "fork"])
def test_what_a_cache_does_not_offer_raises(operation):
    one = engine(Listed)
    one.prefill(strategies.ids(2, 4, 0))
    arguments = {"crop": (2,), "select": ([0],), "fork": ()}[operation]
    with pytest.raises(kvgpt.Unsupported, match=rf"Listed does not support {operation}\(\)"):
        getattr(one, operation)(*arguments)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_decode_step_feeds_one_token_to_every_cache_but_the_one_that_recomputes(variant, monkeypatch):
    one = engine(variant)
    one.prefill(strategies.ids(2, 6, 0))
    fed = []
    forward = one.model.forward
    monkeypatch.setattr(
        one.model, "forward", lambda ids, *args, **kwargs: fed.append(ids.size(1)) or forward(ids, *args, **kwargs)
    )
    one.decode(strategies.ids(2, 1, 0))
    assert fed == [7 if one.cache.stateless else 1]
    assert one.cache.length == int(one.cache.position) == 7


@pytest.mark.parametrize("variant", VARIANTS)
def test_generate_is_the_argmax_of_the_logits_step_by_step(variant):
    ids = strategies.ids(2, 5, 0)
    out = engine(variant).generate(ids, max_new_tokens=8)
    assert out.shape == (2, 13) and torch.equal(out[:, :5], ids)
    again = engine(variant)
    logits = again.prefill(ids)
    for step in range(8):
        assert torch.equal(logits.argmax(dim=1), out[:, 5 + step]), f"token {step} is not the most likely"
        logits = again.decode(out[:, 5 + step : 6 + step])


def test_generate_uses_all_of_the_context_and_no_more():
    ids = strategies.ids(2, 4, 0)
    assert engine("v1").generate(ids, CONFIG.block_size - 4 + 1).shape == (2, CONFIG.block_size + 1)
    with pytest.raises(ValueError, match="25 must fit: this engine has room for 24"):
        engine("v1").generate(ids, CONFIG.block_size - 4 + 2)


def test_generate_of_nothing_returns_the_prompt():
    ids = strategies.ids(2, 4, 0)
    assert torch.equal(engine("v1").generate(ids, 0), ids)


def test_generate_starts_afresh_and_a_longer_run_starts_with_a_shorter_one():
    one, ids = engine("v2"), strategies.ids(2, 4, 0)
    sampled = {"temperature": 1.0, "seed": 7}
    short = one.generate(ids, 5, **sampled)
    assert torch.equal(one.generate(ids, 9, **sampled)[:, :9], short)


def test_a_finished_row_is_padded_with_eos():
    ids = strategies.ids(2, 4, 0)
    free = engine("v1").generate(ids, 10)
    eos = int(free[0, 7])
    out = engine("v1").generate(ids, 10, eos=eos)
    for row in range(2):
        new = free[row, 4:].tolist()
        end = new.index(eos) + 1 if eos in new else len(new)
        assert out[row, 4:].tolist() == new[:end] + [eos] * (10 - end)


def test_rows_of_one_seed_differ_and_do_not_depend_on_the_batch():
    ids = strategies.ids(1, 4, 0)
    three = engine("v1", 3).generate(ids.expand(3, -1), 12, temperature=1.5, seed=3)
    assert len({tuple(row) for row in three.tolist()}) == 3, "copies of one prompt were sampled alike"
    two = engine("v1", 2).generate(ids.expand(2, -1), 12, temperature=1.5, seed=3)
    assert torch.equal(two, three[:2]), "a row depends on how many there are"
    alone = engine("v1", 1).generate(ids, 12, temperature=1.5, seed=[11])
    assert torch.equal(engine("v1", 2).generate(ids.expand(2, -1), 12, temperature=1.5, seed=[4, 11])[1:], alone)


def test_sampling_leaves_the_global_generators_alone():
    before = torch.random.get_rng_state()
    kvgpt.GPT(CONFIG, seed=3)
    engine("v1").generate(strategies.ids(2, 4, 0), 5, temperature=1.0, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(2, 25, dtype=torch.int64), "0 tokens seen and 25 more: this engine has room for 24"),
        (torch.zeros(2, 0, dtype=torch.int64), "ids are empty"),
        (torch.full((2, 3), 31), r"token id 31 at row 0, position 0: ids go from 0 to 30"),
        (torch.tensor([[1, 2], [3, -1]]), r"token id -1 at row 1, position 1"),
        (torch.zeros(3, 2, dtype=torch.int64), "ids have 3 rows, this engine was made for batch_size=2"),
        (torch.zeros(2, 2), r"int64 tensor of shape \(B, T\), found torch.float32"),
        (torch.zeros(2, dtype=torch.int64), r"found torch.int64 of shape \(2,\)"),
        ([[1, 2], [3, 4]], "found list"),
    ],
)
@pytest.mark.parametrize("variant", ["v0", "v1", "v2"])
def test_ids_that_cannot_be_fed_are_refused_and_change_nothing(variant, ids, message):
    one = engine(variant)
    with pytest.raises(ValueError, match=message):
        one.prefill(ids)
    assert one.cache.length == 0
    after = one.prefill(strategies.ids(2, 5, 0), every_position=True)
    assert tolerances.exact(after, fresh(variant, strategies.ids(2, 5, 0)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_full_cache_refuses_one_more_and_is_as_before(variant):
    one = engine(variant, max_length=24 if "window" in variant else 6)
    ids = strategies.ids(2, one.room, 0)
    one.prefill(ids)
    with pytest.raises(ValueError, match=f"{one.room} tokens seen and 1 more: this engine has room for {one.room}"):
        one.decode(ids[:, :1])
    one.crop(5)
    assert tolerances.exact(one.decode(ids[:, 5:6]), fresh(variant, ids[:, :6])[:, -1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "v9"}, r"unknown variant 'v9' .*known: v0, v1, v2, v3, v4, v3a, v4a"),
        ({"variant": "dense+int8"}, "two parts for its storage: 'dense' and 'int8'"),
        ({"variant": "dense+qalign"}, "alignment 'qalign' needs a sharing"),
        ({"variant": int}, "int is no subclass of kvgpt.KVCache"),
        ({"max_length": 25}, "max_length=25: the model has learned positions for 1 to 24"),
        ({"max_length": 0}, "max_length=0"),
        ({"batch_size": 0}, "batch_size=0: must be at least 1"),
        ({"positions": "clamp"}, "positions='clamp': known policies: error"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        kvgpt.Engine(PLAIN, **options)


def test_a_model_and_a_variant_of_different_sharing_are_refused():
    shared = PLAIN.share("cla2")
    for variant in ("v1", "v3a", "dense+cla3"):
        with pytest.raises(ValueError, match="the two must agree"):
            kvgpt.Engine(shared, variant)
    kvgpt.Engine(shared, "v3")
    with pytest.raises(ValueError, match="this model has sharing 'cla2': it cannot take 'cla3'"):
        shared.share("cla3")


def test_decode_takes_one_token():
    with pytest.raises(ValueError, match="decode takes one token a row, found 2"):
        engine("v1").decode(strategies.ids(2, 2, 0))


def test_logits_that_are_not_finite_raise_on_request():
    broken = strategies.model(CONFIG, seed=1)
    broken.ln_f.bias.data[0] = float("nan")
    ids = strategies.ids(1, 3, 0)
    assert kvgpt.Engine(broken, "v1").prefill(ids).isnan().any()
    with pytest.raises(FloatingPointError, match="row 0 has logits that are not finite after 3 tokens"):
        kvgpt.Engine(broken, "v1", check_finite=True).prefill(ids)


def test_after_a_step_that_raised_only_reset_and_crop_are_accepted():
    one, ids = engine("v1"), strategies.ids(2, 3, 0)
    one.prefill(ids)
    k = torch.zeros(2, 2, 1, 8, dtype=torch.float64)
    one.cache.attend(0, k, k, k)  # a step that stops after its first layer
    with pytest.raises(ValueError, match=r"layer 0 already appended 1 tokens"):
        one.decode(ids[:, :1])
    one.crop(3)
    assert tolerances.exact(one.decode(ids[:, :1]), fresh("v1", torch.cat([ids, ids[:, :1]], dim=1))[:, -1])
