"""Hugging Face transformers' GPT-2 with its own caches, and its ``generate``.

Its matrices are (in, out), as its users have them: those are copies. All other parameters are ours.
"""

from abc import abstractmethod
from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, QuantizedCache, StaticCache

from kvgpt.caches.base import Unsupported
from kvgpt.checkpoint import CONV1D
from kvgpt.model import GPT, LAYER_NORM_EPSILON
from kvgpt.peers.base import Peer
from kvgpt.storages import distinct_bytes, tensors_of

OLDEST = 5  # the first major version whose caches and mask these calls fit
# The cache's name as an argument of theirs: it changed in 5.24.
CACHE = "cache" if "cache" in signature(GPT2LMHeadModel.forward).parameters else "past_key_values"


def gpt2(model: GPT) -> GPT2LMHeadModel:
    """Their model with our weights, on our device and in our dtype, through SDPA and without dropout.

    It has no end-of-text token, at which ``generate`` would stop.
    """
    ours = model.config
    config = GPT2Config(
        vocab_size=ours.vocab_size,
        n_positions=ours.block_size,
        n_embd=ours.n_embd,
        n_inner=ours.n_inner,
        n_layer=ours.n_layer,
        n_head=ours.n_head,
        layer_norm_epsilon=LAYER_NORM_EPSILON,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        theirs = GPT2LMHeadModel(config)
    state = model.state_dict()
    turned = {name: tensor.t().contiguous() if name.endswith(CONV1D) else tensor for name, tensor in state.items()}
    named = {f"transformer.{name}": tensor for name, tensor in turned.items()}
    theirs.load_state_dict({**named, "lm_head.weight": state["wte.weight"]}, assign=True)
    return theirs.requires_grad_(False).eval()


class Transformers(Peer):
    """Their model's ``forward`` over one of their caches."""

    def __init__(self, model: GPT, batch_size: int = 1, max_length: int | None = None) -> None:
        super().__init__(model, batch_size, max_length)
        self.model: Any = gpt2(model)  # Any: its methods come from decorators without types
        self.cache: Any = self._build()

    @classmethod
    def absent(cls) -> str | None:
        found = transformers.__version__
        if int(found.partition(".")[0]) >= OLDEST:
            return None
        return f"{cls.canonical} needs transformers {OLDEST} or newer, found {found}: pip install 'kvgpt[peers]'"

    @abstractmethod
    def _build(self) -> Any:
        """A cache of theirs, empty."""

    def _forward(self, ids: Tensor) -> Tensor:
        return self.model(ids, **{CACHE: self.cache}, logits_to_keep=1).logits[:, -1]  # (B, V)

    def _empty(self) -> None:
        self.cache.reset()

    @property
    def weights_bytes(self) -> int:
        return distinct_bytes(self.model.parameters())

    @property
    def cache_bytes(self) -> int:
        return distinct_bytes(tensors_of(self.cache))


class Dynamic(Transformers):
    """Over ``DynamicCache``, which grows by concatenation."""

    canonical = "transformers-dynamic"

    def _build(self) -> Any:
        return DynamicCache(config=self.model.config)


class Static(Transformers):
    """Over ``StaticCache`` of ``max_length`` tokens, allocated at once. Nothing is compiled."""

    canonical = "transformers-static"

    def _build(self) -> Any:
        config = self.model.config
        cache = StaticCache(config=config, max_cache_len=self.max_length)
        shape = self.batch_size, config.n_head, config.n_embd // config.n_head
        cache.early_initialization(*shape, self.model.dtype, self.model.device)
        return cache


class Quantized(Transformers):
    """Over ``QuantizedCache`` in float8_e4m3fn, its backend that needs no further package. The scales are those of the
    first step: what is larger later is clipped.
    """

    canonical = "transformers-quantized+fp8"

    def _build(self) -> Any:
        return QuantizedCache("fp8", self.model.config)


class Generate(Dynamic):
    """Their ``generate``, greedy, with the cache that it builds for itself; step by step as :class:`Dynamic`.

    It hands tokens over before its end only to a streamer in a second thread, whose cost would be measured with it.
    """

    canonical = "transformers-generate"
    streams = False

    def stream(self, ids: Tensor, max_new_tokens: int = 32) -> Iterator[Tensor]:
        raise Unsupported(f"{self.canonical} hands all tokens over at once: use generate")

    @torch.inference_mode()
    def generate(self, ids: Tensor, max_new_tokens: int = 32) -> Tensor:
        self._check_request(ids, max_new_tokens)
        self.reset()
        out = self.model.generate(
            ids.to(self._device), max_new_tokens=max_new_tokens, do_sample=False, return_dict_in_generate=True
        )
        self.cache, self.length = out.past_key_values, ids.size(1) + max_new_tokens - 1
        return out.sequences
