"""What a comparison comes to: a word for each metric of each case, and one exit code for all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Word = Literal["WORSE", "MISSING", "INCOMPARABLE", "UNDECIDED", "BETTER", "SAME"]
WORDS: tuple[Word, ...] = ("WORSE", "MISSING", "INCOMPARABLE", "UNDECIDED", "BETTER", "SAME")  # as they are shown

Meaning = Literal["worse", "not comparable", "undecided", "nothing got worse"]
MEANINGS: dict[Word, Meaning] = {
    "WORSE": "worse",
    "MISSING": "worse",
    "INCOMPARABLE": "not comparable",
    "UNDECIDED": "undecided",
}


@dataclass(frozen=True)
class Judged:
    """One metric of one case; ``metric`` and the figures are None where the case as a whole was judged.

    ``ratio`` is new over base, and ``interval`` holds it; ``reason`` is a clause on how the word came about. Where
    passes decided, the two figures are what :func:`times.usual` takes of their passes, not the medians of all samples,
    and what their machines' pulses explain is taken off the ratio.
    """

    case: str
    word: Word
    reason: str
    metric: str | None = None
    unit: str = ""
    base: float | None = None
    new: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    limit: str = ""


@dataclass(frozen=True)
class Comparison:
    """``only_new`` names cases that the base does not have: nothing is said of them. ``remarks`` are sentences."""

    base: str
    new: str
    judged: tuple[Judged, ...]
    only_new: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def counts(self) -> Mapping[Word, int]:
        found = Counter(one.word for one in self.judged)
        return {word: found[word] for word in WORDS}

    @property
    def meaning(self) -> Meaning:
        """What the worst of its words says of the whole. Something undecided may be worse, whatever the exit code."""
        return next(
            (MEANINGS[word] for word, count in self.counts.items() if count and word in MEANINGS), "nothing got worse"
        )

    def exit_code(self, strict: bool = False) -> int:
        """0; 1 for a regression: WORSE, MISSING, and where ``strict`` UNDECIDED; else 2 for what is not comparable."""
        counts = self.counts
        if counts["WORSE"] or counts["MISSING"] or (strict and counts["UNDECIDED"]):
            return 1
        return 2 if counts["INCOMPARABLE"] else 0
