"""Every reader, given what anybody may put into a file: it refuses with a ValueError, soon, in little memory."""

import json

import damage
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import kvgpt
from kvgpt import checkpoint, manifest, record, recorded, text
from kvgpt.conformance import strategies
from kvgpt.options import read_grid
from kvgpt.report import tables

CONFIG = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=4, vocab_size=7, block_size=6)
MODEL = strategies.model(CONFIG, 0, torch.float32)
MANY = settings(max_examples=5 * settings.default.max_examples)
WORKLOAD = {
    "model": "nano",
    "weights": "shipped",
    "device": "cpu",
    "dtype": "float32",
    "batch_size": 1,
    "new_tokens": 8,
}


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint as kvgpt writes it, by name: with its manifest."""
    directory = tmp_path_factory.mktemp("whole")
    MODEL.save_pretrained(directory)
    return files(directory)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A checkpoint in two files, as on the hub: without a manifest."""
    directory = tmp_path_factory.mktemp("sharded")
    MODEL.save_pretrained(directory)
    (directory / manifest.NAME).unlink()
    single = directory / "model.safetensors"
    tensors = load_file(single)
    single.unlink()
    shards = {"a.safetensors": sorted(tensors)[::2], "b.safetensors": sorted(tensors)[1::2]}
    for name, inside in shards.items():
        save_file({one: tensors[one] for one in inside}, directory / name)
    weight_map = {one: name for name, inside in shards.items() for one in inside}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return files(directory)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the files of each example are written anew."""
    return tmp_path_factory.mktemp("examples")


def lay(directory, contents):
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, data in contents.items():
        (directory / name).write_bytes(data)
    return directory


def loads(directory):
    """Whether a model comes out of ``directory`` that can be run."""
    if damage.refused(lambda: kvgpt.GPT.from_pretrained(directory), directory):
        return False
    model = kvgpt.GPT.from_pretrained(directory)
    assert model(torch.zeros(1, 1, dtype=torch.int64)).shape == (1, 1, model.config.vocab_size)
    return True


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", manifest.NAME])
@MANY
@given(data=st.data())
def test_whatever_is_changed_in_a_checkpoint_with_a_manifest_is_refused(whole, folder, name, data):
    changed = data.draw(damage.damaged(whole[name]))
    sound = loads(lay(folder / "whole", {**whole, name: changed}))
    if name != manifest.NAME:
        assert sound == (changed == whole[name]), "a changed file was taken"


@MANY
@given(data=st.data())
def test_a_config_of_anything_is_refused_or_read(sharded, folder, data):
    valid = json.loads(sharded["config.json"]) | {"n_inner": None, "kvgpt": {"n_kv_head": 2, "sharing": None}}
    loads(lay(folder / "config", {**sharded, "config.json": data.draw(damage.altered(valid))}))


@MANY
@given(data=st.data())
def test_an_index_of_anything_is_refused_or_read(sharded, folder, data):
    name = "model.safetensors.index.json"
    changed = damage.altered(json.loads(sharded[name])) | damage.damaged(sharded[name])
    loads(lay(folder / "index", {**sharded, name: data.draw(changed)}))


@pytest.mark.parametrize("shard", damage.NAMES, ids=ascii)
def test_a_shard_that_is_no_file_of_the_directory_is_refused(sharded, folder, shard):
    index = json.dumps({"weight_map": {"wte.weight": shard}}).encode()
    directory = lay(folder / "names", {**sharded, "model.safetensors.index.json": index})
    with pytest.raises(ValueError, match="is no safetensors file of this directory"):
        kvgpt.GPT.from_pretrained(directory)


@MANY
@given(data=st.data())
def test_a_shard_of_anything_is_refused_or_read(sharded, folder, data):
    shard = data.draw(damage.tensor_files(sharded["b.safetensors"]))
    loads(lay(folder / "shard", {**sharded, "b.safetensors": shard}))


@MANY
@given(data=st.data())
def test_a_manifest_of_anything_is_refused_or_read(whole, folder, data):
    changed = data.draw(damage.altered(json.loads(whole[manifest.NAME])))
    loads(lay(folder / "manifest", {**whole, manifest.NAME: changed}))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}, "float4"),
        ({"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}, "cannot be read: Dtype not understood"),
        ({"dtype": "F32", "shape": [0, 2**63 + 5], "data_offsets": [0, 0]}, "cannot be read: "),
        ({"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}, "has shape"),
        ({"dtype": "F32", "shape": [1] * 2000, "data_offsets": [0, 4]}, "has shape"),
    ],
)
def test_a_tensor_that_torch_does_not_have_is_refused(sharded, folder, entry, message):
    shapes = {name: tuple(tensor.shape) for name, tensor in MODEL.state_dict().items()}
    for name, beside in (("wte.weight", []), ("lm_head.weight", ["a.safetensors", "b.safetensors"])):
        header = json.dumps({name: entry}).encode()
        shard = len(header).to_bytes(8, "little") + header + bytes(entry["data_offsets"][1])
        index = json.dumps({"weight_map": {str(n): one for n, one in enumerate([*beside, "odd.safetensors"])}}).encode()
        contents = {"odd.safetensors": shard, "model.safetensors.index.json": index}
        directory = lay(folder / "odd", contents | {one: sharded[one] for one in beside})
        with pytest.raises(ValueError, match=rf"odd\.safetensors: tensor '{name}' .*{message}|differs"):
            damage.bounded(lambda there=directory: checkpoint.read_tensors(there, shapes))


def test_a_config_that_claims_a_million_layers_builds_none_of_them(sharded, folder):
    config = json.loads(sharded["config.json"]) | {"n_layer": 2**20}
    directory = lay(folder / "deep", {**sharded, "config.json": json.dumps(config).encode()})
    with pytest.raises(ValueError, match="n_layer=1048576, the weights have 2 layers"):
        damage.bounded(lambda: kvgpt.GPT.from_pretrained(directory))


def test_the_largest_json_of_a_checkpoint_takes_little_memory(sharded, folder):
    pairs = b",".join([b"[]"] * (checkpoint.LARGEST_JSON // 3 - 9))
    directory = lay(folder / "wide", {**sharded, "config.json": b'{"a":[' + pairs + b"]}"})
    with pytest.raises(ValueError, match="no 'n_layer'"):
        damage.bounded(lambda: kvgpt.GPT.from_pretrained(directory))


def one_record():
    name = "per_token_latency"
    figures = {name: record.metric(name, 0.5, interval=(0.4, 0.6), stderr=0.1, samples=[0.5])}
    return record.record("latency", "v2", "int8", WORKLOAD, figures)


def results():
    return {
        "benchmarks": [{"fullname": "bench", "extra_info": {"kvgpt": one_record()}}],
        "machine_info": {"kvgpt": {"device": {"kind": "cpu", "name": "a CPU"}}},
    }


@MANY
@given(changed=damage.altered(results()) | damage.damaged(json.dumps(results()).encode()))
@example(changed=json.dumps(results()).encode())
@example(changed=b'{"machine_info": {}, "benchmarks": [{"extra_info": []}]}')
def test_a_results_file_of_anything_is_refused_or_becomes_a_table(folder, changed):
    path = folder / "out.json"
    path.write_bytes(changed)
    if not damage.refused(lambda: tables.every(recorded.read(path)), path):
        (case, *_) = recorded.read(path).cases
        for name in case.metrics:
            assert float(case.value(name)) < float("inf")
            low, high = case.interval(name) or (0.0, 0.0)
            assert float(low) + float(high) < float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interval", 3),
        ("interval", [1]),
        ("interval", [True, 2]),
        ("interval", "ab"),
        ("stderr", [0.1]),
        ("processes", [0.5]),
        ("processes", [[None]]),
        ("value", 10**400),
    ],
)
def test_a_figure_whose_spread_is_no_numbers_is_refused(folder, field, value):
    made = results()
    made["benchmarks"][0]["extra_info"]["kvgpt"]["metrics"]["per_token_latency"][field] = value
    path = folder / "spread.json"
    path.write_text(json.dumps(made))
    with pytest.raises(ValueError, match=rf"spread\.json: benchmark 0: record: metric per_token_latency: .*{field}"):
        recorded.read(path)


def test_a_results_file_with_many_keys_and_one_twice_is_refused_soon(folder):
    path = folder / "many.json"
    path.write_text("{" + ",".join(f'"{n}":0' for n in [*range(60_000), 59_999]) + "}")
    with pytest.raises(ValueError, match="key '59999' is there twice"):
        damage.bounded(lambda: recorded.read(path))


class Letters:
    """An encoding that would be looked up on disk, as GPT-2's is."""

    name, vocab_size, eot, fingerprint = "letters", 900, 899, "letters-1"

    def encode(self, written):
        return np.array([ord(letter) for letter in written], dtype=np.uint16)


@MANY
@given(data=st.data())
def test_kept_tokens_of_anything_are_the_texts_own(folder, data):
    written, encoding = "the quick brown fox", Letters()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        text.encoded(written, encoding)
        (path,) = (folder / "kvgpt" / "tokens").iterdir()
        kept = path.read_bytes()
        path.write_bytes(data.draw(damage.damaged(kept) | st.sampled_from([b"PK\x03\x04" + kept, b"\x93NUMPY" + kept])))
        ids = damage.bounded(lambda: text.encoded(written, encoding))
        assert np.array_equal(ids, encoding.encode(written))
        assert path.read_bytes() == kept, "not made again"


@MANY
@given(written=damage.grids())
def test_a_grid_of_anything_is_refused_or_read(folder, written):
    path = folder / "grid.toml"
    path.write_bytes(written)
    if not damage.refused(lambda: read_grid(str(path)), path):
        grid = read_grid(str(path))
        assert grid.caches == () and grid.rounds >= 1 and grid.warmup >= 0
        assert not any(":" in name for name in grid.variants)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"rounds = true", "rounds=True: expected int"),
        (b"rounds = 0", "rounds=0: must be at least 1"),
        (b"warmup = -1", "warmup=-1: must be at least 0"),
        (b"autoregressive_tokens = 1", "autoregressive_tokens=1: must be at least 2"),
        (b"variants = [1]", "unknown variant 1"),
        (b"variants = [['v1']]", r"unknown variant \['v1'\]"),
        (b'model = "' + b"x" * 300 + b'"', "unknown model"),
        (b'corpus = "' + b"x" * 300 + b'"', "no corpus"),
        (b'model = "caf\xe9"', "not TOML"),
        (b"rounds = " + b"9" * 4400, "not TOML"),
        (b"lengths = " + b"[" * 3000, "not TOML"),
        (b"# " + b"x" * 2**16, "no grid is that large"),
    ],
)
def test_a_grid_that_cannot_be_is_named(folder, written, message):
    path = folder / "broken.toml"
    path.write_bytes(written)
    with pytest.raises(ValueError, match=message) as caught:
        damage.bounded(lambda: read_grid(str(path)))
    assert str(path) in str(caught.value)
