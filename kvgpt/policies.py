"""What happens past the positions that a model can tell apart: policies, chosen by name, each exactly defined.

P is the number of learned positions, t the place of a token in all that was fed, counted from 0.

- ``error``: a token at t >= P is refused.
- ``recompute:S``: once C tokens are held (C the cache's own room, under a window P), the oldest S of C + 1 are let go
  and the others are encoded again from position 0. The answer at t is that of a fresh model fed tokens kS to t, with
  the least k >= 0 for which these are C at most: perplexity is that of windows of C + 1 tokens, S apart.
- ``shift:S``: keys and values stay, and the token at t >= P takes position P - S + (t - P) mod S. What is held was
  computed at other positions, so that quality is not the model's: ``approximate``. It needs a window, which lets go.
- ``interpolate:F``: the token at t takes position t / F; between two learned vectors lies one of their mixtures (Chen
  et al. 2023, arXiv 2306.15595, for rotary angles).

No policy ever gives two tokens in a row the same position. A model of rotary positions needs none.
"""

from dataclasses import dataclass
from math import floor
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Policy:
    """``error``: positions end where the model's do. What the others do otherwise, they override."""

    approximate: ClassVar[bool] = False  # its figures of quality are not the model's

    name: str = "error"
    recomputes: int = 0  # tokens let go at a time before the others are encoded again; 0: none ever

    def room(self, n_position: int | None) -> int | None:
        """Tokens that can be fed in all; None where there is no end."""
        return n_position

    def held(self, n_position: int | None) -> int | None:
        """Tokens that a cache can hold at most, whatever its own room."""
        return self.room(n_position)

    def places(self, seen: Tensor) -> Tensor:
        """The positions (T,) of the tokens at these places (T,) int64."""
        return seen


@dataclass(frozen=True)
class Recompute(Policy):
    """The last tokens are encoded again from position 0, whenever no more fit."""

    def room(self, n_position: int | None) -> int | None:
        return None

    def held(self, n_position: int | None) -> int | None:
        return n_position


@dataclass(frozen=True)
class Shift(Policy):
    """Positions go back by ``stride`` whenever they would end; what is held stays as it is."""

    approximate: ClassVar[bool] = True

    n_position: int = 1
    stride: int = 1

    def room(self, n_position: int | None) -> int | None:
        return None

    def held(self, n_position: int | None) -> int | None:
        return n_position

    def places(self, seen: Tensor) -> Tensor:
        first = self.n_position - self.stride
        return seen.where(seen < self.n_position, first + (seen - self.n_position) % self.stride)


@dataclass(frozen=True)
class Interpolate(Policy):
    """Positions lie ``1 / factor`` apart."""

    factor: float = 1.0

    def room(self, n_position: int | None) -> int | None:
        if n_position is None:
            return None
        last = floor(self.factor * (n_position - 1))
        return last + (last / self.factor <= n_position - 1)  # a quotient that rounds up would be past the end

    def places(self, seen: Tensor) -> Tensor:
        return seen.double() / self.factor


LARGEST_FACTOR = 1024
POLICIES = ("error", "recompute", "shift", "interpolate")


def policy(name: str, n_position: int | None, span: int, windowed: bool) -> Policy:
    """A policy by its name, with or without its number: ``recompute:64``, ``shift:64``, ``interpolate:4``.

    ``span`` is the C of ``recompute``. Without numbers S is half of C or of P, and F is 2. ValueError where the policy
    cannot be had for this model and cache.
    """
    kind, colon, number = name.partition(":")
    if kind not in POLICIES or (kind == "error" and colon):
        raise ValueError(f"positions={name!r}: known policies: error, recompute[:S], shift[:S], interpolate[:F]")
    if kind == "error":
        return Policy()
    if kind == "interpolate":
        try:
            factor = float(number) if colon else 2.0
        except ValueError:
            factor = 0.0
        if not 1.0 <= factor <= LARGEST_FACTOR:
            raise ValueError(
                f"positions={name!r}: stretched by a number from 1 to {LARGEST_FACTOR}, as in interpolate:4"
            )
        return Interpolate("interpolate:" + repr(factor).removesuffix(".0"), factor=factor)
    if kind == "recompute":
        stride = _whole(number) if colon else max(1, span // 2)
        if not 1 <= stride <= span:
            raise ValueError(f"positions={name!r}: of {span} tokens held, 1 to {span} are let go at a time")
        return Recompute(f"recompute:{stride}", recomputes=stride)
    if n_position is None:
        raise ValueError(
            f"positions={name!r}: rotary keys are turned by their positions, which have no end: use 'error'"
        )
    if not windowed:
        raise ValueError(f"positions={name!r} keeps what is held and needs a window to let go of it: add '+window'")
    stride = _whole(number) if colon else n_position // 2
    if not 2 <= stride <= n_position:
        raise ValueError(f"positions={name!r}: positions go back by 2 to {n_position}; by 1 they would stand still")
    return Shift(f"shift:{stride}", n_position=n_position, stride=stride)


def that_allow(tokens: int, n_position: int | None, windowed: bool) -> str:
    """What would take this many tokens on a model of ``n_position`` positions, as the end of a sentence."""
    if n_position is None:
        return "a variant with '+window', which never ends"
    names = ["'recompute'"]
    if n_position > 1:
        names += ["'shift'"] if windowed else ["'shift' on a variant with '+window'"]
        factor = -(-(tokens - 1) // (n_position - 1))
        names += [f"'interpolate:{factor}'"] if factor <= LARGEST_FACTOR else []
    return f"positions={' or '.join(names)}, or a model of rotary positions"


def _whole(number: str) -> int:
    """The number, or 0, which no policy takes."""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
