"""The command before there is a machine: size."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from kvgpt.config import PRESETS, GPTConfig
from kvgpt.costs import ITEM_BYTES
from kvgpt.datasheets import SHEETS, sheet
from kvgpt.plain import columns, parsed, quantity
from kvgpt.recipes import Variant
from kvgpt.sizing import Rates, Size, sizes

UNITS = {"memory": "B", "bandwidth": "B/s", "flops": "FLOP/s"}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its parser."""
    one = commands.add_parser(
        "size",
        help="what fits on a GPU, and how fast it could be: bytes, largest batch, floors",
        description="Bytes, the largest batch, the floor of a token's time and the tokens a second that this leaves, "
        "for a GPU by its data sheet or by figures of your own. Nothing is measured: the bytes are those that the "
        "capacity benchmark predicts before it searches, the times the floors that no step can beat.",
    )
    one.add_argument(
        "--model", default="gpt2", help=f"{', '.join(PRESETS)}, or a directory with a config.json (default: gpt2)"
    )
    one.add_argument("--gpu", metavar="NAME[,NAME]", help=", ".join(SHEETS))
    one.add_argument("--memory", help="such as 80GB or 139.8GiB, in place of a sheet's")
    one.add_argument("--bandwidth", help="such as 3.35TB/s")
    one.add_argument("--flops", help="of products in --dtype, such as 989TFLOP/s")
    one.add_argument(
        "--variant",
        default="v0,v1,v2,v3,v4",
        metavar="NAME[,NAME]",
        help="v0 to v4a, or parts such as int8+cla2 (default: v0,v1,v2,v3,v4)",
    )
    one.add_argument(
        "--lengths", metavar="T[,T]", help="tokens a user (default: as many as the model has positions for)"
    )
    one.add_argument("--users", type=int, metavar="N", help="at once: says how many GPUs that takes")
    one.add_argument("--dtype", default="bfloat16", choices=[dtype for dtype in ITEM_BYTES if dtype != "float64"])
    one.add_argument("--json", action="store_true", help="print JSON, in SI units")
    one.set_defaults(run=size)


def size(asked: argparse.Namespace) -> None:
    """Print what fits and how fast it could be."""
    config = _config(asked.model)
    devices = _devices(asked)
    variants = [Variant.parse(name) for name in asked.variant.split(",")]
    lengths = _lengths(asked.lengths) if asked.lengths else [config.block_size]
    found = list(sizes(config, variants, asked.dtype, devices, lengths, asked.users))
    if asked.json:
        document = {
            "kind": "modelled",
            "model": asked.model,
            "dtype": asked.dtype,
            "users": asked.users,
            "devices": [asdict(device) for device in devices],
            "sizes": [asdict(one) for one in found],
        }
        print(json.dumps(document, indent=2, allow_nan=False))
        return
    print(f"{asked.model} in {asked.dtype}; modelled, not measured: closed forms of bytes, and floors of time\n")
    for device in devices:
        rates = (quantity(device.bandwidth, "B/s"), quantity(device.flops, "FLOP/s"))
        print(f"{device.name}: {quantity(device.memory, 'B')}, {', '.join(rates)}")
        rows = [_row(one) for one in found if one.device == device.name]
        print(*columns(HEADINGS, rows), sep="\n")
        print()
    print(*LEGEND, sep="\n")


HEADINGS = (
    *("variant", "T", "weights", "cache/user", "peak/user", "bound", "largest"),
    *("GPUs", "batch", "alone", "floor", "tokens/s"),
)
LEGEND = (
    "bound: users whose caches would fit if steps allocated nothing; largest: those who fit with the peak of a step",
    "GPUs: for the users asked for, each with the whole model; batch: users on one of them",
    "alone: a token's floor for one user; floor and tokens/s: for the batch",
)


def _row(one: Size) -> tuple[str, ...]:
    times = ("-", "-") if one.alone is None or one.latency is None else _times(one.alone, one.latency)
    return (
        one.variant,
        str(one.context),
        *(quantity(amount, "B") for amount in (one.weights, one.cache, one.peak)),
        "-" if one.bound is None else f"{one.bound:,}",
        f"{one.largest:,}",
        "-" if one.gpus is None else f"{one.gpus:,}",
        f"{one.batch:,}",
        *times,
        "-" if one.throughput is None else f"{one.throughput:,.0f}",
    )


def _times(*seconds: float) -> tuple[str, ...]:
    return tuple(quantity(each, "s") for each in seconds)


def _config(model: str) -> GPTConfig:
    if model in PRESETS:
        return GPTConfig.preset(model)
    if not (Path(model) / "config.json").is_file():
        raise ValueError(f"unknown model {model!r}: known: {', '.join(PRESETS)}, or a directory with a config.json")
    from kvgpt import checkpoint  # waits for torch

    return checkpoint.read_config(Path(model))


def _devices(asked: argparse.Namespace) -> list[Rates]:
    """Known ones by their sheets, with what was stated in place of theirs; or one of stated figures alone."""
    stated = {name: _stated(name, text) for name in UNITS if (text := getattr(asked, name)) is not None}
    if asked.gpu is None:
        missing = [f"--{name}" for name in UNITS if name not in stated]
        if missing:
            raise ValueError(f"name a GPU, --gpu {', '.join(SHEETS)}, or state {' and '.join(missing)} too")
        return [Rates("a device as stated", **stated)]
    known = [sheet(name) for name in dict.fromkeys(asked.gpu.split(","))]
    return [
        Rates(
            f"{one.name}, with {' and '.join(stated)} as stated ({one.source})"
            if stated
            else f"{one.name} ({one.source})",
            stated.get("memory", one.memory),
            stated.get("bandwidth", one.bandwidth),
            stated["flops"] if "flops" in stated else one.rate(asked.dtype),
        )
        for one in known
    ]


def _stated(name: str, text: str) -> float:
    try:
        return parsed(text.replace("FLOPS", "FLOP/s"), UNITS[name])
    except ValueError as error:
        raise ValueError(f"--{name} {error}") from error


def _lengths(text: str) -> list[int]:
    try:
        return [int(length) for length in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--lengths {text}: expected whole numbers such as 512,1024") from error
