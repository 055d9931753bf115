"""The command that trains: a recipe, a preset, or a checkpoint further."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvgpt import corpora
from kvgpt.cli import configuring
from kvgpt.config import ALIGNMENTS, POSITION_EMBEDDINGS, PRESETS
from kvgpt.training import recipe
from kvgpt.training.recipe import Evaluation, Recipe, evaluation_command

if TYPE_CHECKING:
    from kvgpt.model import GPT
    from kvgpt.text import Corpus

PATIENCE = 600.0  # s that processes wait for the first, which evaluates and writes
SHAPE: dict[str, Callable[[str], Any]] = {"sharing": str, "n_kv_head": int, "n_inner": int, "position_embedding": str}
SCHEDULE: dict[str, tuple[Callable[[str], Any], str]] = {
    "steps": (int, "optimizer steps (1600)"),
    "batch_size": (int, "sequences in a micro-batch, over all processes (16)"),
    "accumulate": (int, "micro-batches in a step (1)"),
    "learning_rate": (float, "at its highest (0.003)"),
    "warmup": (int, "steps until it is reached (100)"),
    "final_fraction": (float, "of it at the end of the cosine (0.02)"),
    "decay_steps": (int, "where the cosine ends (at the last step)"),
    "weight_decay": (float, "of matrices and embeddings (0.3)"),
    "clip": (float, "the gradient's largest norm (1)"),
    "attention_gain": (float, "times the heads' initial output projections (3)"),
    "seed": (int, "of the first weights and of all draws (0)"),
    "dtype": (str, "float32, or bfloat16 for mixed precision (float32)"),
    "evaluate_every": (int, "steps (200)"),
    "evaluate_tokens": (int, "of the held-out text (all)"),
    "checkpoint_every": (int, "steps (200)"),
    "log_every": (int, "steps a row of the curve (10)"),
}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its parser."""
    one = commands.add_parser(
        "train",
        help="train a model by a recipe, or a checkpoint further",
        description="Train from fresh weights, or from those of another model, converted to share keys and values if "
        "asked. What is given here goes before the recipe. Stopped, a run goes on with --resume, to the same bits. "
        "Under torchrun each process takes its part of each step.",
    )
    one.add_argument(
        "what",
        nargs="?",
        metavar="RECIPE|DIR",
        help=f"{', '.join(recipe.names())}, a TOML file, another preset, or a checkpoint to train further",
    )
    configuring.add_options(one)
    one.add_argument("--out", type=Path, help="directory to write (default: checkpoints/NAME)")
    one.add_argument("--resume", action="store_true", help="go on from the last checkpoint there, if there is one")
    one.add_argument("--overwrite", action="store_true", help="replace a model or an unfinished run that is there")
    one.add_argument("--corpus", help=f"{', '.join(corpora.KNOWN)}, {corpora.OTHERS} (default: the recipe's, embedded)")
    one.add_argument("--init-from", metavar="DIR", help="begin with the weights of this model (a directory or a name)")
    one.add_argument("--align", choices=tuple(ALIGNMENTS.values()), help="fit followers to their owners beforehand")
    one.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    one.add_argument("--sharing", help="layers that share keys and values, such as cla2")
    one.add_argument("--n-kv-head", type=int, help="heads of keys and values (default: the preset's)")
    one.add_argument("--n-inner", type=int, help="width of an MLP's hidden layer (default: the preset's)")
    one.add_argument("--position-embedding", choices=POSITION_EMBEDDINGS, help="default: the preset's")
    schedule = one.add_argument_group("schedule", "defaults in brackets are those of nano")
    for name, (kind, meaning) in SCHEDULE.items():
        schedule.add_argument(_option(name), type=kind, metavar="N", help=meaning)
    schedule.add_argument("--betas", type=float, nargs=2, metavar="N", help="of AdamW (0.9 0.99)")
    one.set_defaults(run=train)


def train(parsed: argparse.Namespace) -> None:
    """Train, keep checkpoints on the way, and write the model, its curve and the curve's picture."""
    if parsed.new:
        configuring.new(parsed)
        return
    asked = _asked(parsed)
    if isinstance(asked, Evaluation):
        print(f"{asked.document}\n\nNothing is trained. Run:\n{evaluation_command(asked)}")
        return
    directory = parsed.out or Path("checkpoints") / Path(parsed.what).stem
    if (directory / "model.safetensors").exists() and not parsed.overwrite:
        raise ValueError(f"{directory} has a checkpoint already: name another --out, or add --overwrite")
    from kvgpt import parallel, text
    from kvgpt.measure import device
    from kvgpt.train import Run
    from kvgpt.train import train as training

    if device.unusable(parsed.device):
        raise ValueError(f"--device {parsed.device}: torch sees no such device here; --device cpu needs none")
    with parallel.join(parsed.device, PATIENCE) as ranks:
        first = not ranks.rank
        corpus = text.corpus(asked.corpus).divided()
        model = _begin(asked, parsed.align, corpus).to(parsed.device)
        origin = {"command": _again(parsed), "origin": model.weights, "origin_sha256": model.fingerprint}
        if first and parsed.overwrite and not parsed.resume:
            for path in directory.glob("step-*"):
                shutil.rmtree(path)
        ranks.wait()  # the others must not take what is being removed for a run to go on with
        run = Run(directory, asked.schedule, {"corpus_sha256": corpus.sha256, **origin}, parsed.resume)
        if first and run.newest is not None:
            print(f"going on from {run.newest}")
        speak: dict[str, Any] = {} if first else {"report": _silent}
        if first and sys.stderr.isatty():
            speak["tick"] = lambda line: print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
            speak["report"] = lambda line: print(f"\r\x1b[2K{line}" if sys.stdout.isatty() else line, flush=True)
        trained = training(model, corpus, asked.schedule, run, ranks, **speak)
        if not first:
            return
        run.finish(model, trained.metadata, trained.curve)
    _draw(directory, trained.curve)
    held_out = trained.metadata["held_out_perplexity"]
    print(f"wrote {directory}: held-out perplexity {held_out}, curve.csv, curve.png")


def _asked(parsed: argparse.Namespace) -> Recipe | Evaluation:
    """The recipe, with what the command line says instead."""
    if parsed.what is None:
        raise ValueError(
            f"name what to train: {', '.join(recipe.names())}, a TOML file, a checkpoint; or ask with --new"
        )
    if parsed.what in recipe.names() or parsed.what.endswith(".toml"):
        asked = recipe.read(parsed.what)
        if isinstance(asked, Evaluation):
            return asked
    elif parsed.what in PRESETS:
        asked = Recipe(parsed.what, "", corpora.USUAL, preset=parsed.what)
    else:
        asked = Recipe(Path(parsed.what).name, "", corpora.USUAL, init_from=parsed.what)
    shape = {name: getattr(parsed, name) for name in SHAPE if getattr(parsed, name) is not None}
    given = {name: getattr(parsed, name) for name in (*SCHEDULE, "betas") if getattr(parsed, name) is not None}
    source = parsed.init_from or asked.init_from
    stray = sorted(shape.keys() - {"sharing"}) if source else []
    if stray:
        raise ValueError(f"{_option(stray[0])}: {source} has a shape of its own; only --sharing can be added to it")
    model = shape if parsed.init_from else {**asked.model, **shape}
    schedule = replace(asked.schedule, **given)
    return replace(asked, corpus=parsed.corpus or asked.corpus, model=model, init_from=source, schedule=schedule)


def _begin(asked: Recipe, align: str | None, corpus: "Corpus") -> "GPT":
    """The model before its first step."""
    from kvgpt import text
    from kvgpt.model import GPT
    from kvgpt.train import converted, fresh

    if asked.init_from is None:
        if align:
            raise ValueError("--align fits weights that are there: name them with --init-from")
        return fresh(asked.config(), asked.schedule)
    model = GPT.from_pretrained(asked.init_from)
    return converted(model, asked.model.get("sharing"), align, text.calibration(model.config, "pretrained", corpus))


def _silent(line: str) -> None:
    """One process speaks for all."""


def _draw(directory: Path, rows: list[Any]) -> None:
    from kvgpt.report import drawing, training

    drawing.draw([training.losses({directory.resolve().name: rows})], directory)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _again(parsed: argparse.Namespace) -> str:
    """The command that trains the same weights again, wherever they are written."""
    words = ["kvgpt", "train", parsed.what]
    for name in ("corpus", "init_from", "align", *SHAPE, *SCHEDULE):
        if getattr(parsed, name) is not None:
            words += [_option(name), str(getattr(parsed, name))]
    if parsed.betas is not None:
        words += ["--betas", *map(str, parsed.betas)]
    return shlex.join(words)
