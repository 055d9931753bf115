"""Checkpoints on disk: Hugging Face GPT-2 directories of safetensors, read strictly and written whole.

Names and shapes in memory are the model's; a file holds the matrices of GPT-2's Conv1D transposed, as (in, out).
Pickle is refused: loading it runs code (CVE-2025-32434). What kvgpt wrote carries a manifest, and is checked by it.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from kvgpt import hub, manifest, strict_json, tensorfile
from kvgpt.config import PRESETS, GPTConfig
from kvgpt.config import SHIPPED as OURS

CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
BUFFERS = (".attn.bias", ".attn.masked_bias")  # the causal masks that old checkpoints carry
PREFIX = "transformer."
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
SHIPPED = Path(__file__).parent / "pretrained"
LARGEST_JSON = 2**18  # bytes; the index of gpt2-xl in shards would have a fifth of it

# What a GPT-2 config may say of the computation, and the only value under which this model computes the same.
FIXED: dict[str, tuple[Any, ...]] = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
SIZES = {
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
    "vocab_size": "vocab_size",
    "n_positions": "block_size",
}


def locate(source: str | Path) -> Path:
    """The directory of a checkpoint: a path, the name of a shipped one, or a hub name, fetched only when asked for."""
    directory = Path(source)
    if directory.is_dir():
        return directory
    shipped = SHIPPED / str(source)
    if isinstance(source, str) and "/" not in source and (shipped / "config.json").is_file():
        return shipped
    if isinstance(source, Path) or source.startswith((".", "/", "~")) or source.count("/") > 1 or source in OURS:
        raise ValueError(f"no checkpoint at {source}: expected a directory with config.json and model.safetensors")
    name = f"openai-community/{source}" if source in PRESETS else source
    return hub.snapshot(name, ["config.json", "*.safetensors", "*.safetensors.index.json", manifest.NAME])


def read_config(directory: Path) -> GPTConfig:
    """The GPTConfig of a directory's ``config.json``; ValueError where the model would compute something else."""
    path = directory / "config.json"
    fields = strict_json.read(path, LARGEST_JSON, "a config")
    manifest.verify(directory, [path.name])
    missing = [name for name in SIZES if name not in fields]
    if missing:
        raise ValueError(f"{path}: no {missing[0]!r}: not the config.json of a GPT-2")
    for name, allowed in FIXED.items():
        if name in fields and fields[name] not in allowed:
            raise ValueError(f"{path}: {name}={fields[name]!r}: this model computes {allowed[0]!r}")
    own = fields.get("kvgpt", {})
    if not isinstance(own, dict) or not set(own) <= {"n_kv_head", "position_embedding", "sharing", "align"}:
        raise ValueError(f"{path}: kvgpt={own!r}: expected n_kv_head, position_embedding, sharing, align")
    try:
        sizes = {ours: fields[theirs] for theirs, ours in SIZES.items()}
        config = GPTConfig(**sizes, n_inner=fields.get("n_inner"), **own)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return replace(config, n_inner=None) if config.inner == 4 * config.n_embd else config


def check_weights(directory: Path, n_layer: int) -> None:
    """ValueError unless the weights are those of the manifest, where there is one, and have ``n_layer`` layers.

    No tensor is read, and no model need be built: a config may claim a million layers.
    """
    files = _files(directory)
    manifest.verify(directory, [path.name for path in files])
    names = {name.removeprefix(PREFIX) for path in files for name in tensorfile.header(path)[0]}
    layers = {match[1] for name in names if (match := re.match(r"h\.([0-9]+)\.", name))}
    if len(layers) < n_layer:
        raise ValueError(f"{directory}: config.json has n_layer={n_layer}, the weights have {len(layers)} layers")


def read_tensors(directory: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors named in ``shapes`` from a directory's safetensors, all finite, of one floating dtype."""
    state: dict[str, Tensor] = {}
    head: Tensor | None = None
    dtype: torch.dtype | None = None
    for path, name, tensor in _tensors(directory):
        short = name.removeprefix(PREFIX)
        if short.endswith(BUFFERS):
            continue
        where = f"{path}: tensor {name!r}"
        if short not in shapes and short != "lm_head.weight":
            raise ValueError(f"{where} is no part of this model")
        if short in state or (short == "lm_head.weight" and head is not None):
            raise ValueError(f"{where} is there twice")
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{where} is {tensor.dtype}: expected one of {', '.join(map(str, DTYPES))}")
        if tensor.dtype != (dtype := dtype or tensor.dtype):
            raise ValueError(f"{where} is {tensor.dtype}, others are {dtype}")
        if short == "lm_head.weight":
            head = tensor
            continue
        expected = shapes[short][::-1] if short.endswith(CONV1D) else shapes[short]
        if tuple(tensor.shape) != expected:
            raise ValueError(f"{where} has shape {tuple(tensor.shape)}: expected {expected}")
        if not tensor.isfinite().all():
            raise ValueError(f"{where} has {int((~tensor.isfinite()).sum())} values that are not finite")
        state[short] = tensor.t().contiguous() if short.endswith(CONV1D) else tensor
    missing = [name for name in shapes if name not in state]
    if missing:
        raise ValueError(f"{directory}: tensor {missing[0]!r} is missing, and {len(missing) - 1} more")
    if head is not None and not torch.equal(head, state["wte.weight"]):
        raise ValueError(f"{directory}: 'lm_head.weight' differs from 'wte.weight': this model ties the two")
    return state


def read_metadata(directory: Path) -> dict[str, str]:
    """What the writer of a single ``model.safetensors`` noted in its header."""
    return tensorfile.header(directory / "model.safetensors")[1]


def write(directory: Path, config: GPTConfig, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write ``model.safetensors``, ``config.json`` and their manifest, each whole or not at all, in this order: what is
    cut short between two of them does not agree with its manifest.
    """
    own = {
        name: getattr(config, name)
        for name in ("n_kv_head", "position_embedding", "sharing", "align")
        if getattr(config, name) != getattr(GPTConfig, name)
    }
    fields: dict[str, Any] = {
        "architectures": ["GPT2LMHeadModel"],
        # Only a plain GPT-2 may call itself one: transformers would compute something else from the others.
        "model_type": "kvgpt" if own else "gpt2",
        **{theirs: getattr(config, ours) for theirs, ours in SIZES.items()},
        **({} if config.n_inner is None else {"n_inner": config.n_inner}),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "torch_dtype": str(next(iter(state.values())).dtype).removeprefix("torch."),
        **({"kvgpt": own} if own else {}),
    }
    tensors = {
        name: (tensor.t() if name.endswith(CONV1D) else tensor).detach().cpu().contiguous()
        for name, tensor in state.items()
    }
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as scratch:
        save_file(tensors, Path(scratch) / "model.safetensors", metadata={"format": "pt", **metadata})
        (Path(scratch) / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
        manifest.write(Path(scratch), ["config.json", "model.safetensors"])
        for name in ("model.safetensors", "config.json", manifest.NAME):
            (Path(scratch) / name).replace(directory / name)


def _tensors(directory: Path) -> Iterator[tuple[Path, str, Tensor]]:
    for path in _files(directory):
        for name, tensor in tensorfile.read(path):
            yield path, name, tensor


def _files(directory: Path) -> list[Path]:
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        pickles = sorted(path.name for pattern in PICKLES for path in directory.glob(pattern))
        if pickles:
            raise ValueError(
                f"{directory}: {pickles[0]} is a pickle file, which can run code when it is loaded: "
                "save it as safetensors"
            )
        raise ValueError(f"{directory}: no model.safetensors and no model.safetensors.index.json")
    shards = strict_json.read(index, LARGEST_JSON, "an index of shards").get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise ValueError(f"{index}: no 'weight_map' from tensors to files")
    # Looked up among the files that are there, never joined to a path: a name may hold a slash, or be no name at all.
    there = {path.name: path for path in directory.glob("*.safetensors") if path.is_file()}
    names = sorted(set(shards.values()))
    outside = [name for name in names if name not in there]
    if outside:
        raise ValueError(f"{index}: shard {outside[0]!r} is no safetensors file of this directory")
    return [there[name] for name in names]
