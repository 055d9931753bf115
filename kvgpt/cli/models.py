"""Commands on models: generate, train, variants, diff, fetch."""

import argparse
import codecs
import inspect
import shlex
from dataclasses import fields, replace
from pathlib import Path

from kvgpt.config import POSITION_EMBEDDINGS, PRESETS, GPTConfig
from kvgpt.plain import columns
from kvgpt.recipes import variants


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their parsers."""
    one = commands.add_parser("generate", help="stream a continuation of a prompt through a cache")
    one.add_argument("--model", default="nano", help=f"{', '.join(PRESETS)}, a hub name or a directory (default: nano)")
    one.add_argument("--weights", default="pretrained", help="pretrained (default) or random[:SEED], or +int8")
    one.add_argument("--variant", default="v1", help="v0 to v4a, or parts such as int8+cla2 (default: v1)")
    one.add_argument("--prompt", required=True)
    one.add_argument("--max-new-tokens", type=int, default=100)
    one.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    one.add_argument("--top-k", type=int)
    one.add_argument("--top-p", type=float)
    one.add_argument("--seed", type=int)
    one.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: the file's")
    one.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    one.set_defaults(run=generate)

    one = commands.add_parser("train", help="train a preset from scratch")
    one.add_argument("preset", choices=tuple(PRESETS))
    one.add_argument("--out", type=Path, help="directory to write (default: checkpoints/PRESET)")
    one.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there")
    one.add_argument("--corpus", default="embedded", help="embedded, wikitext-2 or a text file")
    one.add_argument("--sharing", help="train with shared keys and values, such as cla2")
    one.add_argument("--position-embedding", choices=POSITION_EMBEDDINGS, help="default: the preset's")
    one.add_argument("--steps", type=int)
    one.add_argument("--batch-size", type=int)
    one.add_argument("--learning-rate", type=float)
    one.add_argument("--seed", type=int)
    one.set_defaults(run=train)

    one = commands.add_parser("variants", help="list the variants")
    one.set_defaults(run=list_variants)

    one = commands.add_parser(
        "diff",
        help="token by token, where a cache parts from its right answer: rounding or a bug",
        description="Feed a text through a cache one token at a time, beside its own right answer (computed in float64 "
        "without a cache, with the same sharing and loss) or beside another variant. What differs is rounding, "
        "explained by the loss or sharing of one of them, or a bug. Exit code: 1 for a bug, 2 for bad input, else 0.",
    )
    plug_in = "or package.module:Class[+cla2], which is imported (from this folder with `python -m kvgpt`)"
    one.add_argument("--variant", required=True, help=f"v0 to v4a, parts such as int8+cla2, {plug_in}")
    one.add_argument("--against", metavar="VARIANT", help="another variant (default: the variant's own right answer)")
    one.add_argument("--corpus", default="embedded", help="embedded (default), wikitext-2 or a text file")
    one.add_argument("--tokens", type=int, default=50, help="fed from the start of the held-out text (default: 50)")
    one.add_argument("--model", default="nano", help=f"{', '.join(PRESETS)}, a hub name or a directory (default: nano)")
    one.add_argument("--weights", default="pretrained", help="pretrained (default) or random[:SEED], or +int8")
    one.add_argument(
        "--dtype",
        default="float64",
        choices=("float64", "float32", "bfloat16"),
        help="float64 (default) tells rounding, 1e-14, from the smallest bug, 1e-3, by far; lower ones are judged by "
        "plain torch's own error in them, and not for lossy caches, whose codes flip",
    )
    one.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    one.set_defaults(run=diff)

    one = commands.add_parser("fetch", help="download models, the gpt2 encoding or WikiText-2 for later runs")
    one.add_argument("names", nargs="+", metavar="NAME", help="gpt2-encoding, wikitext-2, or a model's name")
    one.set_defaults(run=fetch)


def generate(parsed: argparse.Namespace) -> None:
    """Stream a continuation of the prompt."""
    import torch

    from kvgpt import registry, text
    from kvgpt.engine import Engine

    model = registry.open_model(parsed.model, parsed.weights, parsed.dtype, parsed.device)
    encoding = text.tokenizer(model.config.vocab_size)
    ids = torch.from_numpy(encoding.encode(parsed.prompt).astype("int64"))[None]  # (1, T)
    engine = Engine(model, parsed.variant)
    sampling = {name: getattr(parsed, name) for name in ("temperature", "top_k", "top_p", "seed")}
    tokens = engine.stream(ids, parsed.max_new_tokens, eos=encoding.eot, **sampling)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    print(parsed.prompt, end="", flush=True)
    for token in tokens:
        print(decoder.decode(encoding.decode_bytes(token[0].tolist())), end="", flush=True)
    print(decoder.decode(b"", final=True))


def train(parsed: argparse.Namespace) -> None:
    """Train a preset and write its checkpoint."""
    from kvgpt import text
    from kvgpt import train as training

    schedule = training.Schedule()
    asked = {field.name: getattr(parsed, field.name, None) for field in fields(schedule)}
    schedule = replace(schedule, **{name: value for name, value in asked.items() if value is not None})
    directory = parsed.out or Path("checkpoints") / parsed.preset
    if (directory / "model.safetensors").exists() and not parsed.overwrite:
        raise ValueError(f"{directory} has a checkpoint already: name another --out, or add --overwrite")
    config = GPTConfig.preset(parsed.preset, **_overrides(parsed))
    model, metadata = training.train(config, text.corpus(parsed.corpus), schedule)
    model.save_pretrained(directory, {"command": _again(parsed), **metadata})
    print(f"wrote {directory}: held-out perplexity {metadata['held_out_perplexity']}")


def _overrides(parsed: argparse.Namespace) -> dict[str, str]:
    """The fields of the preset that the command line changes."""
    asked = {name: getattr(parsed, name) for name in ("sharing", "position_embedding")}
    return {name: value for name, value in asked.items() if value is not None}


def _again(parsed: argparse.Namespace) -> str:
    """The command that trains the same weights again, wherever they are written."""
    words = ["kvgpt", "train", parsed.preset] + (["--corpus", parsed.corpus] if parsed.corpus != "embedded" else [])
    for name in ("sharing", "position_embedding", "steps", "batch_size", "learning_rate", "seed"):
        if getattr(parsed, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(parsed, name))]
    return shlex.join(words)


def list_variants(parsed: argparse.Namespace) -> None:
    """Names, canonical names and what they keep."""
    rows = [
        (name, variant.canonical, variant.storage, variant.sharing or "-", variant.align or "-", variant.attention)
        for name, variant in variants().items()
    ]
    headings = ("name", "canonical", "storage", "sharing", "alignment", "attention")
    print(*columns(headings, rows), sep="\n")


def diff(parsed: argparse.Namespace) -> int:
    """Show where a variant parts from its right answer or from another variant; 1 where that is a bug."""
    from kvgpt import registry, text
    from kvgpt.conformance import divergence, divergence_table
    from kvgpt.measure import device

    if device.unusable(parsed.device):
        raise ValueError(f"--device {parsed.device}: torch sees no such device here; --device cpu needs none")
    corpus = text.corpus(parsed.corpus)
    model = registry.open_model(parsed.model, parsed.weights, parsed.dtype, parsed.device)
    if model.coded:
        raise ValueError(
            f"--weights {parsed.weights}: the oracle computes with numbers, not with codes: leave out +int8"
        )
    if not 1 <= parsed.tokens <= model.config.block_size:
        raise ValueError(f"--tokens {parsed.tokens}: {parsed.model} has positions for 1 to {model.config.block_size}")
    encoding = text.tokenizer(model.config.vocab_size)
    ids = corpus.ids("held_out", encoding)[: parsed.tokens + 1]
    if len(ids) <= parsed.tokens:
        raise ValueError(
            f"{parsed.corpus} has {len(ids)} tokens: --tokens {parsed.tokens} needs {parsed.tokens + 1}, since each "
            "predicts the next"
        )
    found = divergence.compare(model, parsed.variant, ids, parsed.against)
    for name in (found.variant.name, found.reference.name):
        if ":" in name:
            print(f"imported {name} from {inspect.getsourcefile(registry.plug_in(name)[0])}")
    against = parsed.against and found.reference.name
    print(
        f"{found.variant.name} against {against or 'its own right answer, the oracle (float64, without a cache)'}: "
        f"{parsed.model} in {parsed.dtype} on {parsed.device}, {parsed.tokens} tokens of {corpus.name}\n"
    )
    for line in divergence_table.lines(found, lambda token: _shown(encoding.decode_bytes([token]))):
        print(line)
    return int(found.kind == "bug")


def _shown(token: bytes) -> str:
    """A token in quotes, what cannot be printed escaped; the end of a text has no bytes."""
    try:
        return repr(token.decode()) if token else "end of text"
    except UnicodeDecodeError:
        return repr(token)


def fetch(parsed: argparse.Namespace) -> None:
    """Bring what is on the network here, so that later runs need none."""
    from kvgpt import checkpoint, text

    for name in parsed.names:
        if name == "gpt2-encoding":
            text.GPT2()
            where: object = text.tiktoken_folder()
        elif name == "wikitext-2":
            where = f"{len(text.wikitext_2().held_out[0])} characters of its test split, in the cache of datasets"
        else:
            where = checkpoint.locate(name)
        print(f"{name}: {where}")
