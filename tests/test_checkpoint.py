"""Checkpoints: the same logits as transformers, and no file that is not what it should be."""

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import kvgpt
from kvgpt import checkpoint, manifest
from kvgpt.conformance import strategies, tolerances

CONFIG = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=8, vocab_size=13, block_size=10)
REASON = "compares with transformers, the extra 'peers'"


@pytest.fixture
def saved(tmp_path):
    """A checkpoint without a manifest, as on the hub: what is wrong with its files must be found in them."""
    strategies.model(CONFIG, 0, torch.float32).save_pretrained(tmp_path)
    (tmp_path / manifest.NAME).unlink()
    return tmp_path


def rewrite(directory, change, name="model.safetensors"):
    tensors = load_file(directory / name)
    change(tensors)
    save_file(tensors, directory / name)


def theirs(config, seed):
    """A GPT2LMHeadModel of transformers with drawn weights, in float64."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    transformers.utils.logging.disable_progress_bar()
    made = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            vocab_size=config.vocab_size,
            n_positions=config.block_size,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return made.double().eval()


@settings(max_examples=15)
@given(config=strategies.plain_configs(), seed=strategies.seeds, data=st.data())
def test_logits_equal_those_of_transformers_both_ways(tmp_path_factory, config, seed, data):
    batch, length = data.draw(strategies.batches), data.draw(strategies.lengths)
    ids, reference = strategies.ids(batch, length, seed), theirs(config, seed)
    directory = tmp_path_factory.mktemp("theirs")
    reference.save_pretrained(directory)
    ours = kvgpt.GPT.from_pretrained(directory)
    with torch.no_grad():
        expected = reference(ids).logits
    assert tolerances.exact(ours(ids), expected)
    assert tolerances.exact(kvgpt.Engine(ours, "v1", batch).prefill(ids, every_position=True), expected)

    back = tmp_path_factory.mktemp("ours")
    ours.save_pretrained(back)
    loaded, report = type(reference).from_pretrained(back, dtype=torch.float64, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        assert tolerances.exact(loaded.eval()(ids).logits, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_files_dtype_and_every_bit_are_kept(tmp_path, dtype):
    model = strategies.model(CONFIG, 3, dtype)
    model.save_pretrained(tmp_path, {"note": "kept"})
    again = kvgpt.GPT.from_pretrained(tmp_path)
    assert again.config == CONFIG
    for name, tensor in model.state_dict().items():
        assert again.state_dict()[name].dtype == dtype
        assert torch.equal(again.state_dict()[name], tensor), name
    assert checkpoint.read_metadata(tmp_path)["note"] == "kept"


def test_a_shared_model_comes_back_with_its_sharing(tmp_path):
    shared = kvgpt.align(strategies.model(CONFIG, 0), strategies.ids(2, 9, 0, 13), sharing="cla2")
    shared.save_pretrained(tmp_path)
    again = kvgpt.GPT.from_pretrained(tmp_path)
    assert again.config == shared.config and again.config.align == "qalign"
    ids = strategies.ids(1, 5, 0, 13)
    assert torch.equal(again(ids), shared(ids))
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "kvgpt", "no plain GPT-2"


def test_prefix_shards_masks_and_a_tied_head_are_read(saved):
    plain = kvgpt.GPT.from_pretrained(saved)
    tensors = {f"transformer.{name}": tensor for name, tensor in load_file(saved / "model.safetensors").items()}
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
    tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 10, 10)
    tensors["transformer.h.1.attn.masked_bias"] = torch.tensor(-1e4)
    names = sorted(tensors)
    files = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, inside in files.items():
        save_file({name: tensors[name] for name in inside}, saved / file)
    weight_map = {name: file for file, inside in files.items() for name in inside}
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (saved / "model.safetensors").unlink()
    ids = strategies.ids(2, 7, 0, 13)
    assert torch.equal(kvgpt.GPT.from_pretrained(saved)(ids), plain(ids))


def _set(name, value):
    return lambda tensors: tensors.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("h.1.ln_2.bias"), r"tensor 'h.1.ln_2.bias' is missing"),
        (_set("h.2.ln_1.bias", torch.zeros(8)), r"tensor 'h.2.ln_1.bias' is no part of this model"),
        (_set("ln_f.bias", torch.zeros(9)), r"tensor 'ln_f.bias' has shape \(9,\): expected \(8,\)"),
        (_set("h.0.mlp.c_fc.weight", torch.zeros(32, 8)), r"has shape \(32, 8\): expected \(8, 32\)"),
        (
            lambda tensors: tensors["wpe.weight"].view(-1)[3].fill_(float("nan")),
            r"'wpe.weight' has 1 values that are not finite",
        ),
        (_set("ln_f.bias", torch.zeros(8, dtype=torch.int8)), r"'ln_f.bias' is torch.int8: expected one of"),
        (
            _set("ln_f.bias", torch.zeros(8, dtype=torch.float16)),
            r"'ln_f.bias' is torch.float16, others are torch.float32",
        ),
        (_set("lm_head.weight", torch.zeros(13, 8)), r"'lm_head.weight' differs from 'wte.weight'"),
        (_set("transformer.ln_f.bias", torch.zeros(8)), r"is there twice"),
    ],
)
def test_a_tensor_that_does_not_belong_is_named(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message):
        kvgpt.GPT.from_pretrained(saved)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_head", 3, "n_embd=8 is not a multiple of n_head=3"),
        ("n_layer", "two", "n_layer='two': must be a whole number"),
        ("n_layer", 10**12, "must be a whole number from 1 to 1048576"),
        ("activation_function", "relu", "activation_function='relu': this model computes 'gelu_new'"),
        ("n_inner", 0, "n_inner=0: must be None or a whole number from 1"),
        ("scale_attn_by_inverse_layer_idx", True, "scale_attn_by_inverse_layer_idx=True"),
        ("kvgpt", {"sharing": "pairs"}, "unknown sharing 'pairs'"),
        ("kvgpt", {"window": 3}, "expected n_kv_head, position_embedding, sharing, align"),
    ],
)
def test_a_config_that_asks_for_another_computation_is_refused(saved, field, value, message):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=message):
        kvgpt.GPT.from_pretrained(saved)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_truncated_file_is_named(saved, size):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model.safetensors: cannot be read as safetensors"):
        kvgpt.GPT.from_pretrained(saved)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"n_layer": 2}', "[" * 100_000])
def test_a_broken_config_is_named(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json: "):
        kvgpt.GPT.from_pretrained(saved)


def test_pickle_is_refused_and_not_run(saved, tmp_path):
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (marker.write_text, ("code ran",))

    (saved / "model.safetensors").unlink()
    (saved / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"pytorch_model.bin is a pickle file, which can run code"):
        kvgpt.GPT.from_pretrained(saved)
    assert not marker.exists()


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "a.bin"])
def test_a_shard_outside_the_directory_is_refused(saved, shard):
    (saved / "model.safetensors").rename(saved / "away.safetensors")
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte.weight": shard}}))
    with pytest.raises(ValueError, match="is no safetensors file of this directory"):
        kvgpt.GPT.from_pretrained(saved)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/directory", "a/b/c"])
def test_a_directory_that_is_not_there_is_named(name):
    with pytest.raises(ValueError, match="no checkpoint at"):
        kvgpt.GPT.from_pretrained(name)


def test_a_failed_write_leaves_the_old_checkpoint(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kvgpt.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        strategies.model(CONFIG, 9, torch.float32).save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
