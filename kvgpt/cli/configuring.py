"""The configurator on the command line: ``kvgpt train --new`` asks a few questions and writes a recipe."""

import argparse
from pathlib import Path

from kvgpt import corpora
from kvgpt.training.configurator import DEVICES, Text, configure
from kvgpt.training.writing import check_place, write

SMALL = 2**24  # bytes of a text file up to which bytes are the better encoding: GPT-2's takes many parameters
BYTES_A_TOKEN = 4.4  # of English in GPT-2's encoding
VOCABULARIES = {"bytes": 257, "gpt2": 50257}
KNOWN = {  # tokens to train on before a corpus is here, some of them about
    "embedded": Text(257, 420_000),
    "wikitext-2": Text(50257, 2_400_000),
    "openwebtext": Text(50257, 9_035_582_198),
    "shakespeare": Text(50257, 301_966),
    "shakespeare-char": Text(257, 1_003_854),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What ``--new`` may be told instead of asking; ``--corpus``, ``--out`` and ``--overwrite`` are the command's."""
    parser.add_argument("--new", action="store_true", help="ask a few questions and write a recipe for a size")
    parser.add_argument("--size", metavar="N", help="with --new, and nothing more is asked: parameters, such as 30M")
    parser.add_argument("--context", metavar="N", help="with --new: tokens seen at once (default: 256)")
    parser.add_argument("--budget", metavar="B", help="with --new: 2h, 1B tokens, or auto (default): 20 a parameter")
    parser.add_argument("--for-device", choices=DEVICES, help="with --new: what it will train on (default: cpu)")


def new(parsed: argparse.Namespace) -> None:
    """Ask, unless a size was given, and write the recipe to ``--out``; what stops it leaves no file."""
    path = parsed.out or Path("recipe.toml")
    check_place(path, parsed.overwrite)
    given = {name: getattr(parsed, name) for name in ("size", "context", "budget", "corpus")}
    given["device"] = parsed.for_device
    answers = {name: str(value) for name, value in given.items() if value is not None}
    try:
        recipe = configure(None if parsed.size else input, look, rate, answers)
    except EOFError as error:
        raise ValueError("the questions were not answered to their end: nothing is written") from error
    write(recipe, path, parsed.overwrite)
    print(recipe.document)
    print(f"wrote {path}: train it with `kvgpt train {path}`")


def look(name: str) -> Text:
    """What is known of a corpus: what is prepared says it itself, and a file by its size."""
    if not corpora.there(name):
        raise ValueError(f"{name!r}: no such corpus: known: {', '.join(corpora.KNOWN)}, {corpora.OTHERS}")
    path = Path(name)
    directories = [path, *([corpora.prepared(name)] if corpora.PLAIN.fullmatch(name) else [])]
    for directory in directories:
        if corpora.is_prepared(directory):
            from kvgpt.text import tokens

            made = tokens.read(directory)
            return Text(made.encoding["vocab_size"], made.parts["train"]["tokens"])
    if name in KNOWN:
        return KNOWN[name]
    size = path.stat().st_size
    of_bytes = size <= SMALL
    tokens_in_all = size if of_bytes else size / BYTES_A_TOKEN
    return Text(VOCABULARIES["bytes" if of_bytes else "gpt2"], int(0.9 * tokens_in_all))


def rate(device: str) -> float | None:
    """Operations a second that the device here does at best, measured; None where there is none."""
    from kvgpt.measure import clocks, roof
    from kvgpt.measure.device import unusable

    if unusable(device):
        return None
    return roof.products(device, "bfloat16" if device == "cuda" else "float32", clocks.host_clock(device))
