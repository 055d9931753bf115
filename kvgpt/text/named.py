"""Corpora by name or by path, and what of them an alignment is fitted on."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kvgpt import corpora
from kvgpt.config import GPTConfig
from kvgpt.text import tokens
from kvgpt.text.encodings import tokenizer
from kvgpt.text.texts import Corpus, embedded, read_text, wikitext_2

CALIBRATION_CONTEXTS = 8


def corpus(name: str) -> Corpus:
    """``embedded``, ``wikitext-2`` through ``datasets``, one that ``kvgpt fetch`` prepared, by its name or its
    directory, or the path of a text file, all of which is held out until it is :meth:`Corpus.divided`.
    """
    if name == "embedded":
        return embedded()
    if name == "wikitext-2":
        return wikitext_2()
    path = Path(name)
    if corpora.is_prepared(path):
        return tokens.read(path)
    if path.is_file():
        return read_text(path)
    if corpora.PLAIN.fullmatch(name) and corpora.is_prepared(corpora.prepared(name)):
        return tokens.read(corpora.prepared(name))
    if name in corpora.KNOWN:
        raise ValueError(
            f"the corpus {name!r} is not on this machine: run `kvgpt fetch {name}`, with --from FILE offline"
        )
    raise ValueError(f"no corpus {name!r}: known: {', '.join(corpora.KNOWN)}, {corpora.OTHERS}")


def calibration(config: GPTConfig, weights: str, corpus: Corpus | None = None) -> Tensor:
    """Ids (8, block_size) to fit an alignment on: the corpus's training part, or the embedded corpus's where it has
    none; seeded random ids for random weights.
    """
    shape = CALIBRATION_CONTEXTS, config.block_size
    if weights.startswith("random"):
        return torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(0))
    ids = (corpus if corpus and corpus.trains else embedded()).tokens("train", tokenizer(config.vocab_size))
    starts = torch.linspace(0, len(ids) - config.block_size, CALIBRATION_CONTEXTS).long()  # spread over all of it
    contexts = [ids[start : start + config.block_size] for start in starts.tolist()]
    return torch.from_numpy(np.stack(contexts).astype(np.int64))
