"""What the kernels over codes compute, in plain PyTorch, whatever the codec."""

from collections.abc import Mapping

import torch
from torch import Tensor

from kvgpt.caches.codecs.base import Codec


def decode(
    q: Tensor, k: Tensor | None, v: Tensor | None, codec: Codec, kept: Mapping[str, Tensor], position: Tensor
) -> Tensor:
    """Encode k, v (B, H_kv, 1, D) into the parts ``kept`` (2, B, H_kv, S, ...) at ``position``, and attend with q
    (B, H or a multiple, 1, D) over position + 1 tokens.
    """
    at = int(position)
    if k is not None and v is not None:
        for name, part in codec.encode(torch.stack((k, v))).items():
            kept[name][:, :, :, at : at + 1] = part
    keys, values = ({name: part[which, :, :, : at + 1] for name, part in kept.items()} for which in range(2))
    B, H, _, D = q.shape
    wide = q.to(torch.promote_types(q.dtype, torch.float32)).reshape(B, keys["scales"].size(1), -1, D) * D**-0.5
    weights = codec.scores(wide, keys).softmax(dim=-1)  # (B, H_kv, G, S)
    return codec.mix(weights, values).reshape(B, H, 1, D).to(q.dtype)
