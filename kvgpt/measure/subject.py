"""What a run measures: the model, and the text that is scored, opened once for all of its cases."""

import pytest
import torch
from torch import Tensor

from kvgpt import parallel, registry, text
from kvgpt.measure import device as devices
from kvgpt.model import GPT
from kvgpt.options import SETTINGS
from kvgpt.perplexity import Windows

RANDOM_TOKENS = 16_384  # scored where weights are random and no corpus was asked for
MODEL = pytest.StashKey[GPT]()
TEXT = pytest.StashKey[tuple[text.Corpus | None, Tensor]]()


def model(config: pytest.Config) -> GPT:
    """The model that the options name; a usage error where it cannot be opened here, or a plug-in cannot.

    Where ranks share it out it is whole and on the host: each takes its part from there.
    """
    chosen = config.stash[SETTINGS]
    if MODEL not in config.stash:
        reason = devices.unusable(chosen.device)
        try:
            if reason:
                raise ValueError(reason)
            for spec in chosen.caches:
                registry.plug_in(spec)
            device = chosen.device if chosen.tensor_parallel == 1 else "cpu"
            opened = registry.open_model(chosen.model, chosen.weights, chosen.dtype, device)
            parallel.check(opened.config, chosen.tensor_parallel)
            config.stash[MODEL] = opened
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[MODEL]


def scored(config: pytest.Config) -> tuple[text.Corpus | None, Tensor]:
    """The corpus and the tokens to score (N,), read once; a usage error where there is no text for one window.

    The corpus is None with random weights and no corpus asked for: then the tokens are random.
    """
    chosen, shape = config.stash[SETTINGS], model(config).config
    if TEXT not in config.stash:
        try:
            if chosen.random_weights and not chosen.corpus:
                corpus, generator = None, torch.Generator().manual_seed(1)
                ids = torch.randint(shape.vocab_size, (RANDOM_TOKENS,), generator=generator)
            else:
                corpus = text.corpus(chosen.corpus or "embedded")
                ids = corpus.ids("held_out", text.tokenizer(shape.vocab_size))
            Windows.cut(ids, shape.block_size, shape.block_size, chosen.max_tokens)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        config.stash[TEXT] = corpus, ids
    return config.stash[TEXT]
