"""Commands on models: generate, variants, diff."""

import argparse
import codecs
import inspect
from typing import Any

from kvgpt.config import PRESETS
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
    one.add_argument(
        "--rank-seconds",
        type=float,
        default=45.0,
        help="under torchrun, which shares the model out, how long a rank waits for the others (default: 45)",
    )
    one.set_defaults(run=generate)

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


def generate(parsed: argparse.Namespace) -> None:
    """Stream a continuation of the prompt. Under ``torchrun`` ranks share the model out, and the first one prints."""
    import torch

    from kvgpt import parallel, registry, text
    from kvgpt.engine import Engine

    with parallel.join(parsed.device, parsed.rank_seconds) as ranks:
        place = parsed.device if ranks.count == 1 else "cpu"  # from where each rank takes its part
        model = registry.open_model(parsed.model, parsed.weights, parsed.dtype, place)
        encoding = text.tokenizer(model.config.vocab_size)
        ids = torch.from_numpy(encoding.encode(parsed.prompt).astype("int64"))[None]  # (1, T)
        engine = Engine(model, parsed.variant, ranks=ranks)
        del model  # of which a rank needs no more than its part
        sampling = {name: getattr(parsed, name) for name in ("temperature", "top_k", "top_p", "seed")}
        tokens = engine.stream(ids, parsed.max_new_tokens, eos=encoding.eot, **sampling)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        say = print if ranks.rank == 0 else _nothing
        say(parsed.prompt, end="", flush=True)
        for token in tokens:
            say(decoder.decode(encoding.decode_bytes(token[0].tolist())), end="", flush=True)
        say(decoder.decode(b"", final=True))


def _nothing(*words: str, **how: Any) -> None:
    """What a rank says that is not the first."""


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
