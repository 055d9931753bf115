"""The ``kvgpt`` command: generate | train | variants | diff | plot | check | fetch | doctor | clocks."""

import argparse
import codecs
import inspect
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from kvgpt import __version__
from kvgpt.config import POSITION_EMBEDDINGS, PRESETS, GPTConfig
from kvgpt.plain import columns
from kvgpt.recipes import variants

RESULTS = "written by pytest benchmarks --benchmark-json, or the original research's results.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: 0, 1 for a bug or a missing permission, 2 with one line on what was wrong, 130 if interrupted."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed) or 0)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"kvgpt {parsed.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"kvgpt {parsed.command}: interrupted", file=sys.stderr)
        return 130


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


def plot(parsed: argparse.Namespace) -> int:
    """Draw the figures and write the table of results files; 1 where their figures contradict each other."""
    from kvgpt.report import charts, consistency, drawing, points, reading, table, whole

    results, remarks = reading.together(parsed.results)
    print(*remarks, sep="\n", end="\n" if remarks else "", file=sys.stderr)
    if broken := consistency.violations(results):
        named = ", ".join(map(str, parsed.results))
        print(f"kvgpt plot: nothing was drawn: {named} contradicts itself:", file=sys.stderr)
        print(*broken, sep="\n", file=sys.stderr)
        return 1
    summary = table.summary(results)
    made, missing = charts.charts(results)
    parsed.out.mkdir(parents=True, exist_ok=True)
    pictures, sheets = drawing.draw(made, parsed.out), points.write(made, parsed.out)
    path = whole.write(parsed.out / "table.md", summary)
    print(summary)
    for line in missing:
        print(f"not drawn: {' '.join(line.split())}")
    names = ", ".join(sheet.stem for sheet in sheets) or "no figure"
    print(f"wrote {len(pictures) + len(sheets) + 1} files: {path}, and as PNG, PDF and CSV {names}")
    return 0


def check(parsed: argparse.Namespace) -> int:
    """Print where results contradict themselves; 1 where they do, and where one is no baseline though it must be."""
    from kvgpt.report import checked

    lines, sound = checked.report(parsed.results, parsed.baseline)
    print(*lines, sep="\n")
    return int(not sound)


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


def doctor(parsed: argparse.Namespace) -> None:
    """Say what can be measured here, or show the device's clocks under load."""
    from kvgpt.measure import doctor as examination
    from kvgpt.measure import pstates

    device = parsed.device or examination.default_device()
    shown = pstates.report(device, parsed.seconds) if parsed.pstates else examination.report(device)
    print("\n".join(shown))


def clocks(parsed: argparse.Namespace) -> int:
    """Lock or unlock the SM clock; 1 where the driver does not permit it."""
    from kvgpt.measure import clock_lock
    from kvgpt.measure import device as devices

    gpu = devices.gpu("cuda")
    if parsed.action == "lock":
        outcome = clock_lock.lock(gpu, None if parsed.sm is None else parsed.sm * 1e6)
    else:
        outcome = clock_lock.unlock(gpu)
    print(outcome.said, file=sys.stdout if outcome.done else sys.stderr)
    return int(not outcome.done)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kvgpt", description="Test and measure KV caches.")
    parser.add_argument("--version", action="version", version=f"kvgpt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("generate", help="stream a continuation of a prompt through a cache")
    one.add_argument("--model", default="nano", help=f"{', '.join(PRESETS)}, a hub name or a directory (default: nano)")
    one.add_argument("--weights", default="pretrained", help="pretrained (default) or random[:SEED]")
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
    one.add_argument("--weights", default="pretrained", help="pretrained (default) or random[:SEED]")
    one.add_argument(
        "--dtype",
        default="float64",
        choices=("float64", "float32", "bfloat16"),
        help="float64 (default) tells rounding, 1e-14, from the smallest bug, 1e-3, by far; lower ones are judged by "
        "plain torch's own error in them, and not for lossy caches, whose codes flip",
    )
    one.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    one.set_defaults(run=diff)

    _add_reports(commands)

    one = commands.add_parser("fetch", help="download models, the gpt2 encoding or WikiText-2 for later runs")
    one.add_argument("names", nargs="+", metavar="NAME", help="gpt2-encoding, wikitext-2, or a model's name")
    one.set_defaults(run=fetch)

    _add_device_commands(commands)
    return parser


def _add_device_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser("doctor", help="what can be measured here, what cannot, and why")
    one.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where torch sees a GPU, else cpu")
    one.add_argument("--pstates", action="store_true", help="show the clocks at rest, under load and after it")
    one.add_argument("--seconds", type=float, default=5.0, help="of each of the three (default: 5)")
    one.set_defaults(run=doctor)

    one = commands.add_parser("clocks", help="hold a GPU's SM clock still, or let it move again")
    actions = one.add_subparsers(dest="action", required=True, metavar="lock|unlock")
    two = actions.add_parser("lock", help="until `kvgpt clocks unlock`; drivers let root alone do it")
    two.add_argument("--sm", type=int, metavar="MHZ", help="default: the application clock, else the base clock")
    actions.add_parser("unlock", help="whoever locked it")
    one.set_defaults(run=clocks)


def _add_reports(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser("plot", help="draw the figures of results files, of a repeated case the first")
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help=RESULTS)
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one.set_defaults(run=plot)

    one = commands.add_parser(
        "check",
        help="whether the figures of results files contradict each other, their closed forms or the device",
        description="Hold results files to every rule of consistency, each file by itself. Exit code: 1 where one "
        "breaks a rule, 2 for what is no results file, else 0.",
    )
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help=RESULTS)
    one.add_argument("--baseline", action="store_true", help="refuse records that are not valid, too")
    one.set_defaults(run=check)
