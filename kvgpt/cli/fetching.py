"""The command that brings here what later runs need: fetch."""

import argparse
from pathlib import Path

from kvgpt import corpora
from kvgpt.config import PRESETS

OURS = ("embedded", "wikitext-2", "gpt2-encoding", *PRESETS)  # names that mean something else than a text of one's own


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its parser."""
    one = commands.add_parser(
        "fetch",
        help="download models, encodings and corpora for later runs, or prepare a text of one's own",
        description="Models and WikiText-2 go where their libraries keep them. openwebtext, shakespeare and "
        "shakespeare-char become tokens on disk, streamed, as does a file of any name of yours with --from. What is "
        "there already is read through and checked.",
    )
    known = ", ".join(corpora.KNOWN[1:])
    one.add_argument("names", nargs="+", metavar="NAME", help=f"{known}, gpt2-encoding, or a model's name")
    one.add_argument("--from", dest="source", type=Path, metavar="FILE", help="text, or *.jsonl with a 'text' a line")
    one.add_argument("--out", type=Path, metavar="DIR", help="where the tokens go (default: the user's cache folder)")
    one.add_argument("--encoding", choices=("gpt2", "bytes"), help="of a file under a name of your own (default: gpt2)")
    one.add_argument("--held-out", type=float, metavar="FRACTION", help="of many documents (default: 0.0005)")
    one.add_argument("--overwrite", action="store_true", help="prepare again what is there")
    one.set_defaults(run=fetch)


def fetch(parsed: argparse.Namespace) -> None:
    """Bring what is on the network here, or what is in a file, so that later runs need neither."""
    from kvgpt import checkpoint, text
    from kvgpt.text import sources

    if parsed.source is not None and len(parsed.names) != 1:
        raise ValueError(f"--from is the text of one corpus, and {len(parsed.names)} names were given")
    if parsed.source is not None and parsed.names[0] in OURS:
        raise ValueError(f"{parsed.names[0]!r} is taken: give the text of {parsed.source} a name of its own")
    for name in parsed.names:
        if name == "gpt2-encoding":
            text.GPT2()
            where: object = text.tiktoken_folder()
        elif name == "wikitext-2":
            where = f"{len(text.wikitext_2().held_out[0])} characters of its test split, in the cache of datasets"
        elif name in sources.ONLINE or parsed.source is not None:
            where = _prepared(name, parsed)
        else:
            where = checkpoint.locate(name)
        print(f"{name}: {where}")


def _prepared(name: str, parsed: argparse.Namespace) -> str:
    """Prepare a corpus, or check the one that is there; what it holds, in a line."""
    from kvgpt.text import dividing, encodings, preparing, sources, tokens

    directory = parsed.out or corpora.prepared(name)
    if corpora.is_prepared(directory) and not parsed.overwrite:
        if parsed.source is not None:
            raise ValueError(f"{directory} is prepared already: add --overwrite to replace it")
        made = tokens.read(directory)
        made.verify()
    elif directory.exists() and not corpora.is_prepared(directory):
        raise ValueError(f"{directory} is there, and is no prepared corpus: name another --out")
    else:
        usual = sources.ONLINE[name].encoding if name in sources.ONLINE else parsed.encoding or "gpt2"
        if parsed.encoding not in (None, usual):
            raise ValueError(f"{name} is of the encoding {usual!r}: --encoding is for a file under a name of your own")
        encoding = encodings.named(usual)
        source = sources.local(parsed.source) if parsed.source is not None else sources.online(name)
        fraction = dividing.FRACTION if parsed.held_out is None else parsed.held_out
        made = preparing.prepare(name, directory, source, encoding, fraction)
    train, held_out = (made.parts[part]["tokens"] for part in dividing.PARTS)
    return f"{train:,} tokens to train on, {held_out:,} held out, of {made.encoding['name']}, in {directory}"
