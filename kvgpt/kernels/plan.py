"""How a launch is laid out, and the memory in which the parts of a row meet. Knows no Triton: caches hold a Meeting."""

from dataclasses import dataclass
from math import e, log2

import torch
from torch import Tensor

ELEMENTS = 4096  # of a tile: 32 sums for each thread of four warps
TILES = 16, 128  # the least and the most tokens of a tile
STAGES = 3  # tiles on their way from memory while one is computed with
MOST_PARTS = 32  # whose sums one program adds up at once
PROGRAMS = 2  # for each multiprocessor: while one waits for memory, the other computes


class Meeting:
    """Where the parts of a row leave their sums. One for each cache: launches that overlap must not share it.

    It is scratch, and not what a cache holds; it is kept, because what is captured in a graph must stay where it is.
    ``parts`` fixes their number; None chooses one that fills the device.
    """

    __slots__ = ("_places", "device", "fixed", "programs")  # and no __dict__: nothing in here counts as held

    def __init__(self, device: torch.device, parts: int | None = None) -> None:
        if parts is not None and not 1 <= parts <= MOST_PARTS:
            raise ValueError(f"parts={parts}: one program adds up 1 to {MOST_PARTS}; None chooses by the device")
        self.device, self.fixed = device, parts
        gpu = device.type == "cuda"
        self.programs = PROGRAMS * torch.cuda.get_device_properties(device).multi_processor_count if gpu else 1
        self._places: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    def parts(self, rows: int, tiles: int) -> int:
        """Into how many parts each of ``rows`` with room for ``tiles`` is divided."""
        return self.fixed or max(1, min(self.programs // rows, tiles, MOST_PARTS))

    def place(self, rows: int, parts: int, head_dim: int) -> tuple[Tensor, Tensor]:
        """Room for each part's D sums and two statistics (rows, parts, D + 2), and how many have come (rows,)."""
        key = rows, parts, head_dim
        if key not in self._places:
            sums = torch.empty(rows, parts, head_dim + 2, dtype=torch.float32, device=self.device)
            self._places[key] = sums, torch.zeros(rows, dtype=torch.int32, device=self.device)
        return self._places[key]


@dataclass(frozen=True)
class Plan:
    """The grid (B H, parts), where the parts meet, and what the kernels take after it: the heads of q, how many of them
    share a key, the room, and what a query is multiplied by; then constants, by name.
    """

    grid: tuple[int, int]
    place: tuple[Tensor, Tensor]
    sizes: tuple[int, int, int, float]
    constants: dict[str, int | bool]


def tile(head_dim: int) -> int:
    """How many tokens are taken at a time."""
    least, most = TILES
    return max(least, min(most, ELEMENTS // padded(head_dim)))


def padded(n: int) -> int:
    """The next power of two: the sizes of blocks are such."""
    return 1 << (n - 1).bit_length()


def plan(q: Tensor, heads: int, room: int, meeting: Meeting) -> Plan:
    """The launch for q (B, H, 1, D) over ``heads`` heads of keys with ``room`` tokens."""
    B, H, T, D = q.shape
    if T != 1 or q.dtype == torch.float64:
        raise ValueError(f"{T} queries of {q.dtype}: a decode kernel takes 1, of at most 32 bits; use plain attention")
    rows, size = B * H, tile(D)
    parts = meeting.parts(rows, -(-room // size))
    sizes = H, H // heads, room, D**-0.5 * log2(e)
    constants = {"D": D, "TILE": size, "PARTS": parts, "PADDED": padded(parts), "STAGES": STAGES}
    return Plan((rows, parts), meeting.place(rows, parts, D), sizes, {**constants, "enable_fp_fusion": True})
