"""Small operations of many kinds, as a step has them beside its large products.

What a neighbour of a shared core takes is room near it, for code as well as for data. One operation done again and
again keeps its place: it was 1.1 times as slow where a step was 1.7 times. Many kinds lose theirs as a step does: where
one of 0.36 ms took up to 0.72, the two kept their ratio within 4% (Xeon with AMX, a virtual machine).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

C, H, T = 8, 2, 16  # width, heads and cached tokens: so few numbers that only calling an operation takes time


def small_operations() -> Callable[[], None]:
    """A function that does each once, on tensors of its own. They stay the same, whatever kvgpt's model becomes."""
    ids, position = torch.zeros(1, 1, dtype=torch.int64), torch.tensor([3])
    table, keys = torch.ones(T, C), torch.zeros(1, H, T, C // H)
    wide, narrow, bias, scale = torch.ones(C, 3 * C), torch.ones(C, C), torch.zeros(3 * C), torch.ones(C)

    @torch.inference_mode()
    def run() -> None:
        seen = position + torch.arange(1)
        x = F.embedding(ids, table) + F.embedding(seen, table)  # (1, 1, C)
        normed = F.layer_norm(x, (C,), scale, scale)
        q, k, v = torch.addmm(bias, normed.view(1, C), wide).view(1, 1, 3, H, C // H).unbind(2)  # each (1, 1, H, D)
        keys.index_copy_(2, seen, k.transpose(1, 2))
        y = F.scaled_dot_product_attention(q.transpose(1, 2), keys, keys)  # (1, H, 1, D)
        x = x + F.linear(y.transpose(1, 2).reshape(1, 1, C), narrow)
        x = x + F.gelu(F.linear(x, narrow), approximate="tanh")
        x = torch.cat([x, normed], dim=1).softmax(-1)  # (1, 2, C)
        x = torch.where(x > 0, x, normed)
        x.narrow(1, 0, 1).copy_(v.reshape(1, 1, C))
        for one in x.split(1, dim=1):
            torch.stack([one.masked_fill(one < 0, 0.0), one.tanh()]).clone().mul_(2).sub_(1)
        x.exp().div_(x.sum(-1, keepdim=True)).to(torch.float64).argmax(-1)
        x.index_select(1, seen - seen).expand(2, 2, C).contiguous().amin(-1).isfinite().all()

    return run
