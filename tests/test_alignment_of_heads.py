"""Alignment of keys and values: heads are matched, and maps are found where there are any."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given

import kvgpt
from kvgpt import costs, perplexity, text
from kvgpt.alignment import heads
from kvgpt.conformance import strategies

PLAIN = kvgpt.GPTConfig(n_layer=4, n_head=4, n_embd=32, vocab_size=31, block_size=48)
GROUPED = replace(PLAIN, n_head=8, n_kv_head=4)
CONFIGS = {"plain": PLAIN, "grouped": GROUPED}
FOLLOWERS = {"cla2": (1, 3), "cla4": (1, 2, 3)}
IDS = strategies.ids(4, 20, 0, 31)
ORDER = [2, 0, 3, 1]  # the owner's head that each head of a planted follower is a map of


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(config, sharing):
    """A model of which each follower's keys and values are maps of its owner's, head by head in another order.

    Layers before the last add nothing to what the next is fed, and a follower norms as its owner does: it sees what the
    owner saw.
    """
    model = strategies.model(config, 0)
    D, kv, C = config.head_dim, config.kv_heads * config.head_dim, config.n_embd
    for layer in FOLLOWERS[sharing]:
        owner = replace(config, sharing=sharing).owners[layer]
        own, foreign = model.h[layer], model.h[owner]
        own.ln_1.load_state_dict(foreign.ln_1.state_dict())
        for part, where in enumerate((slice(C, C + kv), slice(C + kv, None))):
            mixing = drawn(10 * layer + part, config.kv_heads, D, D) + 2 * torch.eye(D, dtype=torch.float64)
            shift = drawn(10 * layer + part + 5, kv)
            weight = foreign.attn.c_attn.weight[where].view(-1, D, C)[ORDER]
            bias = foreign.attn.c_attn.bias[where].view(-1, D, 1)[ORDER]
            own.attn.c_attn.weight.data[where] = (mixing @ weight).view(kv, C)
            own.attn.c_attn.bias.data[where] = (mixing @ bias).view(kv) + shift
    for block in list(model.h)[:-1]:
        for projection in (block.attn.c_proj, block.mlp.c_proj):
            projection.weight.data.zero_()
            projection.bias.data.zero_()
    return model


@pytest.mark.parametrize("sharing", FOLLOWERS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_followers_that_are_maps_of_their_owners_lose_nothing(config, sharing):
    model, ids = planted(config, sharing), strategies.ids(4, 48, 1, 31)
    aligned = kvgpt.align(model, strategies.ids(6, 40, 0, 31), sharing, kind="kv")
    assert (aligned(ids) - model(ids)).abs().max() < 1e-9
    assert (model.share(sharing)(ids) - model(ids)).abs().max() > 1e-3, "sharing alone changes nothing to mend"


def test_without_the_matching_they_do_not(monkeypatch):
    model, ids = planted(PLAIN, "cla2"), strategies.ids(4, 48, 1, 31)

    def error():
        aligned = kvgpt.align(model, strategies.ids(6, 40, 0, 31), "cla2", kind="kv")
        return float((aligned(ids) - model(ids)).abs().max())

    matched = error()
    monkeypatch.setattr(heads, "assign", lambda costs: list(range(len(costs))))
    assert error() > 1e-3 > 1e6 * matched


@given(seed=strategies.seeds)
def test_the_heads_of_a_planted_follower_are_found_and_so_are_the_maps(seed):
    K, V = drawn(seed, 4, 3, 30, 5) + 3, drawn(seed + 1, 4, 3, 30, 5)
    A, B, c = drawn(seed + 2, 4, 5, 5), drawn(seed + 3, 4, 5, 5), drawn(seed + 4, 4, 1, 5)
    k, v = torch.empty_like(K), torch.empty_like(V)
    k[ORDER] = (K.flatten(1, 2) @ A + c).view_as(K)
    v[ORDER] = (V.flatten(1, 2) @ B + c).view_as(V)
    found, *maps = heads.fit_heads(k, v, K, V)
    assert found == ORDER
    for map_, wanted in zip(maps, (A, B, c.squeeze(1)), strict=True):
        assert torch.allclose(map_, wanted, atol=1e-9)


@given(seed=strategies.seeds)
def test_what_no_map_reaches_is_what_plain_least_squares_leaves(seed):
    X, Y = drawn(seed, 2, 40, 4), drawn(seed + 1, 3, 40, 4)
    shares = heads.unexplained(X, Y)
    for s in range(2):
        for f in range(3):
            left = Y[f] - X[s] @ torch.linalg.lstsq(X[s], Y[f]).solution
            assert float(shares[s, f]) == pytest.approx(float(left.square().sum() / Y[f].square().sum()), abs=1e-12)


def test_the_ridge_helps_where_few_tokens_say_little():
    truth, noise = drawn(0, 1, 12, 12), 12.0
    X, fresh = drawn(1, 1, 24, 12), drawn(2, 1, 500, 12)
    Y = X @ truth + noise * drawn(3, 1, 24, 12)
    plain = torch.linalg.lstsq(X, Y).solution
    ridged = heads.least_squares(X, Y)
    errors = [float((fresh @ (found - truth)).square().mean()) for found in (ridged, plain)]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("tokens", [2, 3, 9])
def test_fewer_tokens_than_a_head_has_numbers_give_finite_weights(tokens):
    aligned = kvgpt.align(strategies.model(PLAIN, 0), strategies.ids(1, tokens, 0, 31), kind="kv")
    assert all(bool(parameter.isfinite().all()) for parameter in aligned.parameters())
    assert max(float(parameter.abs().max()) for parameter in aligned.parameters()) < 1e4


def test_what_is_zero_everywhere_is_mapped_to_zero():
    nothing = torch.zeros(2, 1, 6, 3, dtype=torch.float64)
    found, A, B, c = heads.fit_heads(nothing, nothing + 1, nothing, nothing + 2)
    assert sorted(found) == [0, 1] and not A.any() and not B.any() and bool((c == 1).all())


@pytest.mark.parametrize("sharing", FOLLOWERS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_only_projections_of_followers_change_and_the_model_itself_does_not(config, sharing):
    model, ids = strategies.model(config, 0), strategies.ids(4, 20, 0, 31)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    shared = model.share(sharing).state_dict()
    aligned = kvgpt.align(model, ids, sharing, kind="kv")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    changed = {name for name, tensor in aligned.state_dict().items() if not torch.equal(tensor, shared[name])}
    projections = [f"{one}.{kind}" for one in ("c_attn", "c_proj") for kind in ("weight", "bias")]
    assert changed == {f"h.{layer}.attn.{name}" for layer in FOLLOWERS[sharing] for name in projections}
    assert (aligned.config.sharing, aligned.config.align) == (sharing, "calign")


@pytest.mark.parametrize("name", ["dense+cla2+calign", "int8+cla4+calign"])
def test_nothing_is_added_at_decode(name):
    variant = kvgpt.Variant.parse(name)
    bare = replace(variant, align=None)
    engines = [kvgpt.Engine(strategies.model(PLAIN, 0), one, calibration=IDS) for one in (variant, bare)]
    sizes = [{name: p.shape for name, p in engine.model.named_parameters()} for engine in engines]
    assert sizes[0] == sizes[1] and engines[0].cache.nbytes == engines[1].cache.nbytes
    assert [costs.cache_bytes(PLAIN, one, 1, 48, "float64") for one in (variant, bare)] == [engines[0].cache.nbytes] * 2
    assert costs.parameters(engines[0].model.config) == sum(p.numel() for p in engines[0].model.parameters())


def test_a_layer_is_fitted_on_what_the_fitted_layers_before_it_feed_it():
    model, fed = strategies.model(PLAIN, 0), []
    aligned = kvgpt.align(model, IDS, "cla4", kind="kv")
    handles = [block.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0])) for block in aligned.blocks()]
    aligned(IDS)
    for handle in handles:
        handle.remove()
    (K, V), (k, v) = (keys_and_values(model.h[layer], fed[layer]) for layer in (0, 3))
    by_hand = model.share("cla4").h[3].attn
    heads.fold(by_hand, *heads.fit_heads(k, v, K, V))
    for name, tensor in by_hand.state_dict().items():
        assert torch.allclose(aligned.h[3].attn.state_dict()[name], tensor, atol=1e-9), name


def keys_and_values(block, x):
    """What a layer without sharing makes of x (N, T, C): k, v, each (H, N, T, D)."""
    projected = block.attn.c_attn(block.ln_1(x)).split(block.attn.widths, dim=-1)
    return [part.unflatten(-1, (-1, block.attn.head_dim)).permute(2, 0, 1, 3) for part in projected[1:]]


def test_a_variant_is_fitted_once_to_the_calibration_it_is_given():
    model = strategies.model(PLAIN, 0)
    engine = kvgpt.Engine(model, "dense+cla2+calign", calibration=IDS)
    by_hand = kvgpt.align(model, IDS, "cla2", kind="kv")
    assert all(torch.equal(tensor, by_hand.state_dict()[name]) for name, tensor in engine.model.state_dict().items())
    assert kvgpt.Engine(by_hand, "int8+cla2+calign").model is by_hand, "an aligned model is not aligned again"
    with pytest.raises(ValueError, match=r"alignment 'qalign', the model was made with .* 'calign'"):
        kvgpt.Engine(by_hand, "v3a")


def test_an_aligned_model_comes_back_from_its_directory(tmp_path):
    aligned = kvgpt.align(strategies.model(GROUPED, 0), IDS, "cla2", kind="kv")
    aligned.save_pretrained(tmp_path)
    again = kvgpt.GPT.from_pretrained(tmp_path)
    assert again.config == aligned.config and again.config.align == "calign"
    assert torch.equal(again(IDS), aligned(IDS))


def test_what_cannot_be_aligned_is_refused():
    model = strategies.model(PLAIN, 0)
    with pytest.raises(ValueError, match="already has sharing 'cla2'"):
        kvgpt.align(model.share("cla2"), IDS, kind="kv")
    with pytest.raises(ValueError, match="rotary positions turn"):
        kvgpt.align(strategies.model(replace(PLAIN, position_embedding="rotary"), 0), IDS, kind="kv")
    with pytest.raises(ValueError, match=r"shape \(0, 9\): expected \(sequences, 2 tokens or more\)"):
        kvgpt.align(model, IDS[:0, :9], kind="kv")
    model.h[1].attn.c_attn.bias.data[-1] = torch.nan
    with pytest.raises(ValueError, match="layer 1 makes keys or values of the calibration ids that are not finite"):
        kvgpt.align(model, IDS, kind="kv")


@pytest.fixture(scope="module")
def nano():
    return kvgpt.GPT.from_pretrained("nano")


@pytest.mark.parametrize("sharing", ["cla2", "cla4"])
def test_it_closes_more_than_a_third_of_the_gap_that_sharing_opens(nano, sharing):
    windows = perplexity.Windows.cut(text.embedded().ids("held_out", text.tokenizer(257)), 256, 256, 8192)
    names = ("v1", f"dense+{sharing}", f"dense+{sharing}+calign")
    full, bare, aligned = (perplexity.teacher_forced(kvgpt.Engine(nano, name, 16), windows) for name in names)
    assert (bare.perplexity - aligned.perplexity) / (bare.perplexity - full.perplexity) >= 0.35
    change, error = aligned.change(bare)
    assert change < -5 * error, "within the noise"
