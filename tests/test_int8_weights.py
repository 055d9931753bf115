"""Weights as int8 codes: within their bound, as exact as plain products, their bytes the closed form's, and never taken
for the weights that they were made from.
"""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt import compiling, costs, int8_weights, peers, registry, transients
from kvgpt.attention import PATHS
from kvgpt.conformance import strategies, tolerances
from kvgpt.int8_weights import Int8Linear, dequantise, product, quantise, tiled
from kvgpt.measure import loads
from kvgpt.measure.attempt import HostMemory, attempt
from kvgpt.native import rows as native
from kvgpt.report.consistency import closed_forms

CONFIG = kvgpt.GPTConfig(n_layer=3, n_head=2, n_embd=32, vocab_size=50, block_size=64)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LACKING = compiling.uncompilable(torch.device("cpu"))
needs_a_compiler = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))


def written_out(coded):
    """A model of plain numbers, those that the codes stand for."""
    state = coded.state_dict()
    for name in [name.removesuffix(".codes") for name in state if name.endswith(".codes")]:
        state[f"{name}.weight"] = dequantise(state.pop(f"{name}.codes"), state.pop(f"{name}.scale"))
    return kvgpt.GPT(coded.config, seed=None).assign(state, "written out")


@pytest.fixture(scope="module")
def plain():
    return strategies.model(CONFIG, 0, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@given(data=st.data())
def test_no_number_is_off_by_more_than_half_of_its_channels_scale(dtype, data):
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    size = data.draw(st.sampled_from([1e-30, 1e-3, 1.0, 1e20]))
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds))
    weight = (size * torch.randn(rows, columns, generator=generator)).to(dtype)
    weight[0] *= data.draw(st.sampled_from([0, 1]))
    codes, scale = quantise(weight)
    assert (codes.dtype, codes.shape) == (torch.int8, weight.shape)
    assert (scale.dtype, scale.shape) == (dtype, (rows,)) and (scale > 0).all()
    assert codes.min() >= -127, "symmetric: -128 has no counterpart"
    exact = codes.double() * scale.double().unsqueeze(1)
    assert tolerances.bounded(exact.to(torch.float32), weight, scale.double().unsqueeze(1) / 2)


def test_each_output_channel_has_a_scale_of_its_own():
    weight = torch.tensor([[127.0, -1.0], [1.27, 0.004]])
    codes, scale = quantise(weight)
    assert codes.tolist() == [[127, -1], [127, 0]]
    torch.testing.assert_close(scale, torch.tensor([1.0, 0.01]))


def test_what_is_not_finite_has_no_code(plain):
    with pytest.raises(ValueError, match="1 weights are not finite"):
        quantise(torch.tensor([[1.0, float("inf")]]))


@pytest.mark.parametrize("tile", [1, 100, 2**18])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 33), (4, 3, 33)])
def test_tiles_make_a_product_as_exact_as_plain_torch(monkeypatch, tile, dtype, bias, shape):
    monkeypatch.setattr(int8_weights, "TILE", tile)
    _as_exact_as_plain(tiled, dtype, bias, shape)


@needs_a_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_loop_makes_a_product_as_exact_as_plain_torch(monkeypatch, dtype, rows, bias):
    monkeypatch.setattr(int8_weights, "LEAST", 0)
    monkeypatch.setattr(int8_weights, "tiled", None)
    _as_exact_as_plain(product, dtype, bias, (1, rows, 33))


def _as_exact_as_plain(way, dtype, biased, shape):
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, generator=generator).to(dtype) for size in (shape, (65, 33)))
    bias = torch.randn(65, generator=generator).to(dtype) if biased else None
    codes, scale = quantise(weight)
    with torch.inference_mode():
        found = way(x, codes, scale, bias)
        assert found.dtype == dtype and found.shape == (*shape[:-1], 65)
        numbers = dequantise(codes, scale)
        usual = [F.linear(x, numbers, bias), F.linear(x.flip(-1), numbers.flip(-1), bias)]
    truth = (x.double() @ (codes.double() * scale.double().unsqueeze(1)).t()) + (0 if bias is None else bias.double())
    assert all(verdicts := tolerances.by_ratio(found, usual, truth)), list(map(str, verdicts))


@needs_a_compiler
def test_a_loop_serves_few_rows_of_large_weights_alone(monkeypatch):
    calls, made = [], []
    monkeypatch.setattr(int8_weights, "tiled", lambda x, *others: calls.append(len(x)) or tiled(x, *others))
    monkeypatch.setattr(native, "loop", lambda *dtypes, of=native.loop: made.append(dtypes) or of(*dtypes))
    layer, codes = Int8Linear(67, 33), quantise(torch.randn(67, 33))
    layer.load_state_dict({"codes": codes[0], "scale": codes[1], "bias": torch.ones(67)})
    layer.prepare(2)
    assert not made, "too small to be worth a compilation"
    with torch.inference_mode():
        layer(torch.randn(3, 33))
        monkeypatch.setattr(int8_weights, "LEAST", 0)
        layer.prepare(2)
        assert made == [(torch.int8, torch.float32)]
        for rows in (1, native.MOST_ROWS, native.MOST_ROWS + 1):
            x = torch.randn(rows, 33)
            torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    assert calls == [3, native.MOST_ROWS + 1]


def test_without_a_compiler_tiles_serve(monkeypatch):
    monkeypatch.setattr(int8_weights, "LEAST", 0)
    monkeypatch.setattr(native, "loop", lambda weight, dtype: None)
    _as_exact_as_plain(product, torch.float32, True, (1, 1, 33))


@pytest.mark.parametrize("rows", [1, 4])
def test_codes_compute_what_the_numbers_that_they_stand_for_do(plain, rows):
    coded = plain.quantise()
    ids = strategies.ids(rows, 9, 1)
    assert tolerances.exact(coded(ids), written_out(coded)(ids).double())
    assert (coded(ids) - plain(ids)).abs().max() > tolerances.SEMANTICS, "codes change what is computed"


@pytest.mark.parametrize("variant", list(kvgpt.variants()))
def test_every_variant_runs_over_codes_as_over_the_numbers_that_they_stand_for(plain, variant):
    coded, ids = plain.quantise(), strategies.ids(2, 9, 1)
    calibration = strategies.ids(4, 20, 2)
    engine = kvgpt.Engine(coded, variant, 2, calibration=calibration)
    same = kvgpt.Engine(written_out(engine.model), variant, 2, calibration=calibration)
    assert engine.model.coded and engine.model.config == same.model.config
    for one in (engine, same):
        one.prefill(ids[:, :6])
    assert tolerances.exact(engine.prefill(ids[:, 6:]), same.prefill(ids[:, 6:]).double())


def test_followers_of_an_alignment_keep_the_codes_of_the_fitted_queries(plain):
    coded, ids = plain.quantise(), strategies.ids(4, 20, 2)
    fitted = kvgpt.align(written_out(coded), ids).quantise()
    aligned = kvgpt.align(coded, ids)
    follower, bare = aligned.h[1].attn.c_attn, coded.share("cla2").h[1].attn.c_attn
    assert not torch.equal(follower.codes, bare.codes)
    wanted = fitted.h[1].attn.c_attn
    assert (follower.codes.int() - wanted.codes.int()).abs().max() <= 1, "but for ties"
    assert torch.allclose(follower.scale, wanted.scale, rtol=1e-4) and torch.allclose(
        follower.bias, wanted.bias, atol=1e-5
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sharing", [None, "cla2"])
@pytest.mark.parametrize("kv_heads", [None, 1])
def test_bytes_are_the_closed_forms(dtype, sharing, kv_heads):
    config = replace(CONFIG, n_kv_head=kv_heads)
    coded = kvgpt.GPT(config).to(DTYPES[dtype]).quantise().share(sharing)
    assert coded.nbytes == costs.weights_bytes(coded.config, dtype, coded=True)
    assert costs.weights_bytes(coded.config, dtype) - coded.nbytes > 0


def test_a_step_is_held_to_the_bytes_of_the_codes():
    recipe = kvgpt.Variant.parse("v1")
    wide, coded = (costs.bill(CONFIG, recipe, "float32", 3, coded=coded) for coded in (False, True))
    saved = costs.weights_bytes(CONFIG, "float32") - costs.weights_bytes(CONFIG, "float32", coded=True)
    assert wide.step(5).bytes - coded.step(5).bytes == saved == wide.working_set(5) - coded.working_set(5)
    assert wide.step(5).flops == coded.step(5).flops


def test_as_many_sequences_fit_beside_codes_as_was_predicted(plain):
    coded, recipe = kvgpt.GPT(CONFIG).requires_grad_(False).quantise(), kvgpt.Variant.parse("v1")
    need = transients.serving(CONFIG, recipe, "float32", 64, loads.last_chunk(64), coded=True)
    assert need.fixed == coded.nbytes
    load = loads.serving(lambda batch: kvgpt.Engine(coded, "v1", batch), 64)
    memory = HostMemory(need.fixed + 40 * need.peak)
    fits = [attempt(load, need.predicted(memory.budget) + off, memory, coded.nbytes).fitted for off in (-1, 1)]
    assert fits == [True, False]


def test_codes_are_named_and_never_quantised_twice(plain):
    coded = plain.quantise()
    assert (coded.weights, plain.weights) == (f"{plain.weights}+int8", plain.weights) and not plain.coded
    assert "+int8" in repr(coded) and coded.fingerprint != plain.fingerprint
    with pytest.raises(ValueError, match="are codes already"):
        coded.quantise()


def test_a_saved_cache_is_not_taken_for_one_of_other_weights(plain, tmp_path):
    engine = kvgpt.Engine(plain.quantise(), "v1")
    engine.prefill(strategies.ids(1, 5, 0))
    engine.save(tmp_path / "cache.safetensors")
    with pytest.raises(ValueError, match="model"):
        kvgpt.Engine(plain, "v1").load(tmp_path / "cache.safetensors")


def test_no_checkpoint_holds_codes(plain, tmp_path):
    with pytest.raises(ValueError, match=r"are int8 codes.*save the model they were made from"):
        plain.quantise().save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("weights", ["random:3+int8", "shipped+int8"])
def test_a_model_is_opened_as_codes_by_name(weights):
    coded = registry.open_model("nano", weights, "bfloat16")
    made_from = registry.open_model("nano", weights.removesuffix("+int8"), "bfloat16")
    assert coded.coded and coded.dtype == torch.bfloat16 and coded.weights == f"{made_from.weights}+int8"
    assert coded.fingerprint == made_from.quantise().fingerprint
    assert {str(one.dtype) for one in coded.parameters()} == {"torch.int8", "torch.bfloat16"}


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match=r"unknown weights 'shipped\+int4'"):
        registry.open_model("nano", "shipped+int4")


def test_a_copy_and_a_cast_leave_the_codes_as_they_are(plain):
    coded = plain.quantise()
    twin = copy.deepcopy(coded).to(torch.float32)
    assert torch.equal(twin.h[0].mlp.c_fc.codes, coded.h[0].mlp.c_fc.codes) and twin.dtype == torch.float32


def test_peers_have_no_codes(plain):
    with pytest.raises(ValueError, match="a peer has no such codes"):
        peers.build("gpt-fast", plain.quantise(), 1, 8)


def test_the_consistency_of_results_knows_the_bytes_of_codes():
    class Stated:
        canonical, name = "dense", "a case"

        def __init__(self, weights):
            self.workload = {"model": "gpt2", "weights": weights, "dtype": "float32"}

    config = kvgpt.GPTConfig.preset("gpt2")
    for weights, coded in (("random:0", False), ("random:0+int8", True)):
        assert closed_forms.weights_bytes(Stated(weights)) == costs.weights_bytes(config, "float32", coded=coded)


def test_attention_paths_are_untouched(plain):
    engine = kvgpt.Engine(plain.quantise(), "dense+matmul")
    assert engine.cache.attention is PATHS["matmul"]
