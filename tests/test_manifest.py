"""The manifest: what was written is what is loaded, to the bit, or the file is named; and no file's code is run."""

import json
import pickle

import pytest
import torch

import kvgpt
from kvgpt import checkpoint, manifest
from kvgpt.conformance import strategies

CONFIG = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=4, vocab_size=7, block_size=6)
MODEL = strategies.model(CONFIG, 0, torch.float32)


@pytest.fixture
def whole(tmp_path):
    """A checkpoint as kvgpt writes it, by name: with its manifest."""
    MODEL.save_pretrained(tmp_path / "whole")
    return {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}


def lay(directory, contents):
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, data in contents.items():
        (directory / name).write_bytes(data)
    return directory


def test_a_flipped_bit_is_named_with_what_was_expected_and_what_to_do(whole, tmp_path):
    directory = lay(tmp_path / "flipped", whole)
    path = directory / "model.safetensors"
    flipped = bytearray(whole["model.safetensors"])
    flipped[-5] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"model\.safetensors: sha256 [0-9a-f]{64}, its manifest has ") as caught:
        kvgpt.GPT.from_pretrained(directory)
    assert json.loads(whole[manifest.NAME])["files"]["model.safetensors"]["sha256"] in str(caught.value)
    assert f"or remove {directory / manifest.NAME} if it was changed on purpose" in str(caught.value)
    (directory / manifest.NAME).unlink()
    changed = kvgpt.GPT.from_pretrained(directory).state_dict()
    assert any(not torch.equal(changed[name], tensor) for name, tensor in MODEL.state_dict().items())


def test_another_number_of_heads_is_caught_though_the_weights_fit_it(whole, tmp_path):
    config = whole["config.json"].replace(b'"n_head": 2', b'"n_head": 4')
    assert config != whole["config.json"]
    with pytest.raises(ValueError, match=r"config\.json: sha256"):
        kvgpt.GPT.from_pretrained(lay(tmp_path / "heads", {**whole, "config.json": config}))


def test_weights_that_the_manifest_does_not_list_are_refused(whole, tmp_path):
    listed = json.loads(whole[manifest.NAME])
    del listed["files"]["model.safetensors"]
    directory = lay(tmp_path / "unlisted", {**whole, manifest.NAME: json.dumps(listed).encode()})
    with pytest.raises(ValueError, match=r"lists no 'model\.safetensors'"):
        kvgpt.GPT.from_pretrained(directory)


def test_the_shipped_nano_is_the_one_that_its_manifest_was_written_for():
    listed = json.loads((checkpoint.SHIPPED / "nano" / manifest.NAME).read_text())["files"]
    assert set(listed) == {"config.json", "model.safetensors"}
    manifest.verify(checkpoint.SHIPPED / "nano", listed)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt", "config.json", manifest.NAME])
def test_a_pickle_under_any_name_is_not_run(whole, tmp_path, name):
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (marker.write_text, ("code ran",))

    contents = {**whole, name: pickle.dumps(Trap())}
    if name not in whole:
        del contents["model.safetensors"]
    for kept in (contents, {one: data for one, data in contents.items() if one != manifest.NAME or one == name}):
        with pytest.raises(ValueError, match=name):
            kvgpt.GPT.from_pretrained(lay(tmp_path / "trap", kept))
    with pytest.raises(ValueError, match="trap"):
        kvgpt.Engine(MODEL).load(tmp_path / "trap" / name)
    assert not marker.exists()


def test_a_checkpoint_written_over_another_has_a_manifest_of_its_own(tmp_path):
    for seed in range(2):
        strategies.model(CONFIG, seed, torch.float32).save_pretrained(tmp_path)
        kvgpt.GPT.from_pretrained(tmp_path)


def test_a_write_cut_short_between_two_files_is_noticed(whole, tmp_path):
    strategies.model(CONFIG, 1, torch.float32).save_pretrained(tmp_path / "new")
    weights = (tmp_path / "new" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"model\.safetensors: sha256"):
        kvgpt.GPT.from_pretrained(lay(tmp_path / "torn", {**whole, "model.safetensors": weights}))
