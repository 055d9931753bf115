"""Alignment: a model whose followers were fitted, once and in closed form, to the keys and values of their owners.

Everything is folded into the followers' weights, so that decoding costs nothing more than without. A kind of alignment
is one file and one line of :data:`KINDS`.
"""

from dataclasses import replace

import torch
from torch import Tensor

from kvgpt.alignment import heads, queries
from kvgpt.config import ALIGNMENTS
from kvgpt.model import GPT

KINDS = {"q": queries.fit, "kv": heads.fit}
NAMES = {kind: name for name, kind in ALIGNMENTS.items()}


@torch.no_grad()
def align(model: GPT, ids: Tensor, sharing: str = "cla2", kind: str = "q") -> GPT:
    """``model`` under ``sharing``, its followers fitted on ids (N, T) int64; ``model`` itself is unchanged.

    ``kind`` is ``q``, queries fitted to the owners' keys (:mod:`kvgpt.alignment.queries`), or ``kv``, heads matched and
    keys and values both mapped (:mod:`kvgpt.alignment.heads`). The config of the result says ``qalign`` or ``calign``.
    ValueError where the model already shares or has rotary positions, or ids are too few.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: known: 'q' (queries), 'kv' (keys and values)")
    if ids.dim() != 2 or ids.size(0) < 1 or ids.size(1) < 2:
        raise ValueError(f"calibration ids have shape {tuple(ids.shape)}: expected (sequences, 2 tokens or more)")
    if model.config.position_embedding != "learned":
        raise ValueError(
            "rotary positions turn queries and keys by their distance: no one map of queries fits them all"
        )
    if model.config.sharing is not None:
        raise ValueError(f"the model already has sharing {model.config.sharing!r}: align starts from one that has none")
    shared = model.share(sharing)
    aligned = shared.like(replace(shared.config, align=NAMES[kind])).assign(shared.state_dict(), model.weights)
    KINDS[kind](model, aligned, ids.to(model.device))
    return aligned
