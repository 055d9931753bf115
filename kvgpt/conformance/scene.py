"""What a promise is checked on, in a few numbers and words, so that it can be printed and typed in again."""

from dataclasses import dataclass

VOCABULARY = 31
LONGEST = 24  # tokens of any history


@dataclass(frozen=True)
class Scene:
    """A model and a batch in a few numbers, from which everything else follows.

    ``room`` is the window of a windowed cache; ``path`` ``default`` or ``math``, SDPA's own choice or its plainest.
    ``block`` positions are learned, or they are ``rotary``; ``positions`` is the engine's policy past them.
    """

    n_layer: int = 1
    kv_heads: int = 1
    groups: int = 1
    head_dim: int = 2
    batch: int = 1
    sharing: str | None = None
    room: int = 4
    path: str = "default"
    seed: int = 0
    block: int = LONGEST
    rotary: bool = False
    positions: str = "error"

    def span(self, windowed: bool) -> int:
        """Tokens that are held before ``recompute`` lets any go."""
        return self.block if windowed or self.positions.startswith("recompute") else LONGEST

    def endless(self, windowed: bool) -> bool:
        """Whether any number of tokens can be fed."""
        return self.positions.startswith(("recompute", "shift")) or (windowed and self.rotary)


@dataclass(frozen=True)
class Op:
    """One thing done to one of the caches that are alive: see :data:`~kvgpt.conformance.subject.OPERATIONS`."""

    name: str
    cache: int = 0
    n: int = 0
    rows: tuple[int, ...] = ()
