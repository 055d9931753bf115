"""Capacity: the largest batch that fits, searched for from a prediction and confirmed at the edge."""

from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 2**20  # sequences: nobody asks for more
TIMES = 5  # that either side of the edge is tried


@dataclass(frozen=True)
class Probe:
    """One attempt: whether this batch fitted, its bytes at the worst moment where that is known, and why it did not."""

    batch: int
    fitted: bool
    peak: int | None = None
    why: str = ""


@dataclass(frozen=True)
class Found:
    """The largest batch that fitted whenever it was tried, up to ``limit``.

    ``interval`` ends with the largest batch that ever fitted: both ends are the same unless probes disagreed.
    ``confirmed`` counts how often ``max_batch`` fitted and how often one more did not.
    """

    max_batch: int
    interval: tuple[int, int]
    probes: tuple[Probe, ...]
    confirmed: tuple[int, int]
    limit: int

    @property
    def peak(self) -> int | None:
        """Bytes at the worst moment of the largest batch; None where nothing fitted, or nobody counted."""
        known = [probe.peak for probe in self.probes if probe.batch == self.max_batch and probe.peak is not None]
        return max(known, default=None)

    @property
    def at_limit(self) -> bool:
        """Whether the search ended before the memory did."""
        return self.interval[1] == self.limit

    @property
    def outcome(self) -> str:
        """What came of the search, in words."""
        low, high = self.interval
        if low != high:
            return f"probes disagree from {low + 1} to {high}"
        if not high:
            return f"nothing fits: {self.probes[-1].why}"
        return f"everything fits up to the limit of {self.limit}" if self.at_limit else "found"


def search(fits: Callable[[int], Probe], predicted: int, limit: int = LIMIT, times: int = TIMES) -> Found:
    """The largest batch from 1 to ``limit`` that fits, or 0; the number of probes grows with the log of the error of
    ``predicted``.

    Three edges are found one after the other: of what fits when tried once, of what fits ``times`` times of ``times``,
    and of what fits at least once in as many. Where the memory is steady they are the same. ValueError for a limit or a
    number of times below 1.
    """
    if limit < 1 or times < 1:
        raise ValueError(f"limit={limit}, times={times}: both must be at least 1")
    log: list[Probe] = []

    def ask(batch: int) -> bool:
        log.append(fits(batch))
        return log[-1].fitted

    def tried(batch: int) -> list[bool]:
        return [probe.fitted for probe in log if probe.batch == batch]

    def always(batch: int) -> bool:
        return False not in tried(batch) and all(ask(batch) for _ in range(times - len(tried(batch))))

    def ever(batch: int) -> bool:
        return True in tried(batch) or any(ask(batch) for _ in range(times - len(tried(batch))))

    edge = _edge(ask, predicted, limit)
    low = _edge(always, edge, limit)
    high = _edge(ever, edge, limit)
    confirmed = sum(tried(low)), tried(low + 1).count(False)
    return Found(low, (low, high), tuple(log), confirmed, limit)


def _edge(holds: Callable[[int], bool], start: int, limit: int) -> int:
    """The largest number from 1 to ``limit`` for which ``holds``, or 0: by steps that double until it is bracketed,
    then by halves.
    """
    low, high, step = 0, limit + 1, 1  # what is known to hold, what is known not to
    at = min(max(start, 1), limit)
    while high - low > 1:
        low, high = (at, high) if holds(at) else (low, at)
        if low == 0:
            at = max(1, high - step)
        elif high > limit:
            at = min(limit, low + step)
        else:
            at = (low + high) // 2
        step *= 2
    return low
