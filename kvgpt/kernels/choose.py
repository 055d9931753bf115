"""The decode kernel of a storage, by name: what a cache asks when it is built."""

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor

from kvgpt.kernels.available import available

Decode = Callable[..., Tensor]  # q, k, v, what one layer stores, position and a Meeting -> (B, H, 1, D)


def decoding(storage: str, dtype: torch.dtype, device: torch.device) -> Decode | None:
    """``kvgpt.kernels.<storage>.decode``, or None where plain PyTorch serves: without a GPU, and for float64, which
    kernels do not accumulate in.
    """
    if dtype == torch.float64 or not available(device):
        return None
    return import_module(f"kvgpt.kernels.{storage}").decode
