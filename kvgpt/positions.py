"""How a token's position enters the model: a learned vector added to its embedding, or a rotation of queries and keys.

Each embedding takes the tokens' vectors and their positions, and returns what the first layer is given and the turn
that every layer applies to its queries and keys.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kvgpt.config import GPTConfig

Turn = Callable[[Tensor], Tensor]  # of queries or keys (B, H, T, D)
THETA = 10_000.0  # the rotation's base, as published


class LearnedPositions(nn.Module):
    """A vector for each position (GPT-2). A position between two whole ones has a vector between theirs."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.block_size, config.n_embd))

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Turn]:
        """X (B, T, C), positions (T,) int64 or floating, from 0 to block_size - 1."""
        if not positions.is_floating_point():
            return x + F.embedding(positions, self.weight), unturned
        below, above = (F.embedding(whole.long(), self.weight) for whole in (positions.floor(), positions.ceil()))
        return x + torch.lerp(below, above, positions.frac().to(below.dtype).unsqueeze(1)), unturned


class RotaryPositions(nn.Module):
    """A rotation of each pair of numbers (d, d + D/2) by position / theta^(2d / D): scores depend on distances only, so
    that no position is the last (Su et al. 2021, arXiv 2104.09864).
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Turn]:
        """X (B, T, C), positions (T,). Angles are computed in float64: bfloat16 tells no 257 from 258."""
        pairs = torch.arange(0, self.head_dim, 2, device=x.device, dtype=torch.float64)
        angles = positions.double().unsqueeze(1) * THETA ** (-pairs / self.head_dim)  # (T, D/2)
        wide = torch.promote_types(x.dtype, torch.float32)
        cos, sin = angles.cos().to(wide), angles.sin().to(wide)

        def turn(heads: Tensor) -> Tensor:
            a, b = heads.to(wide).chunk(2, dim=3)  # each (B, H, T, D/2)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=3).to(heads.dtype)

        return x, turn


def unturned(heads: Tensor) -> Tensor:
    """Queries and keys as they are: their tokens know their positions already."""
    return heads


EMBEDDINGS: dict[str, type[LearnedPositions] | type[RotaryPositions]] = {
    "learned": LearnedPositions,
    "rotary": RotaryPositions,
}
