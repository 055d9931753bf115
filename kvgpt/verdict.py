"""Whether two measured things differ: a ratio, its interval, and one word."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, log1p
from typing import Literal

from kvgpt.statistics import mean_interval, pass_medians

LEAST = 0.03  # the smallest change that counts, relative
BLOCK = 20  # consecutive samples of one side, compared with the other side's of the same time
TRIM = 0.2  # of the blocks, at either end
SMALLEST, LARGEST = 1e-60, 1e60  # of samples that have a ratio
Verdict = Literal["more", "less", "same", "undecided"]


@dataclass(frozen=True)
class Difference:
    """How ``b`` differs from ``a``.

    ``ratio`` is b over a, ``interval`` holds it with 95% confidence and is None where there are too few samples.
    ``verdict`` is neutral, since less is better in some metrics and worse in others:

    - ``more`` or ``less``: the ratio is beyond the least change that counts, and its interval excludes 1
    - ``same``: the whole interval is within the least change
    - ``undecided``: anything else, which is no pass: measure more, or on a quieter machine

    The least change is a factor either way, so the difference of a and b is that of b and a, turned round.
    """

    ratio: float
    interval: tuple[float, float] | None
    verdict: Verdict


def interleaved(a: Sequence[float], b: Sequence[float], least: float = LEAST) -> Difference:
    """The difference of two things called in turns, in the order a b b a, b a a b: equally many samples, as they came.

    In turns both meet the same machine, which one after the other they do not, and each is first as often as second.
    Noise only ever adds time, to single calls and to whole stretches. So a block of 20 consecutive calls a side is one
    sample, by its lower quartile, which spikes do not reach; and the log-ratios of the blocks are averaged without the
    outermost, in which the machine changed. Samples after the last whole block are not used.

    With 960 calls a side, 3,000 times in each of the five kinds of noise of ``tests/noise.py``, equals were ``more`` or
    ``less`` in at most 0.2%, a planted 10% was always found and 5% in at least 98%; the intervals held in 93% to 96%.
    """
    floor = _floor(least)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} samples against {len(b)}: calls in turns give equally many; leave out what is over")
    if len(a) < BLOCK:
        raise ValueError(f"{len(a)} samples a side: a block has {BLOCK}; 960 a side find a change of 10%")
    return _judge(_lower_quartiles(_with_a_ratio(a)), _lower_quartiles(_with_a_ratio(b)), TRIM, floor)


def passes(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], least: float = LEAST) -> Difference:
    """The difference of two things measured in passes, pass i of a beside pass i of b: lists of samples, one a pass.

    A pass is one sample, by its median, since rounds within a process are not independent. The interval is Student's
    on the paired log-ratios. Where nothing differs, pass i of a could as well be pass i of b, so the log-ratio is
    symmetric about 0 whatever the distribution of either; and where tails are longer than the normal's, the interval
    errs on the wide side (Benjamini 1983, J. Am. Stat. Assoc. 78). One wild pass thus ends in ``undecided``. An exact
    interval, of signs or of ranks, would need six passes to reach 95%.

    With a normal 2% between processes, equals are ``more`` or ``less`` in 0.5% of comparisons of 7 passes, 0.7% of 6
    and 1.0% of 5, and 10% is found in 99.9% and more. Where processes fall into two states, 4% apart, 7 passes keep
    below that and 5 come to 2.5%. Fewer are undecided, but for numbers that are all the same: counted, not timed.
    """
    floor = _floor(least)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} passes against {len(b)}: they are compared pass by pass; leave out what is over")
    before, after = pass_medians(a), pass_medians(b)
    if len({sample for samples in (*a, *b) for sample in samples}) == 1:
        return Difference(1.0, (1.0, 1.0), "same")
    return _judge(_with_a_ratio(before), _with_a_ratio(after), 0.0, floor)


def _lower_quartiles(samples: Sequence[float]) -> list[float]:
    """Of each whole block."""
    starts = range(0, len(samples) - BLOCK + 1, BLOCK)
    return [sorted(samples[start : start + BLOCK])[BLOCK // 4] for start in starts]


def _with_a_ratio(samples: Sequence[float]) -> Sequence[float]:
    """The samples, where all have a ratio: of what is measured only zeros and negatives are outside so wide a range."""
    for sample in samples:
        if not SMALLEST <= sample <= LARGEST:
            raise ValueError(f"{sample}: only numbers from {SMALLEST} to {LARGEST} have a ratio; subtract others")
    return samples


def _floor(least: float) -> float:
    """The least change that counts, as a log-ratio."""
    if not 0 <= least < inf:
        raise ValueError(f"least={least}: the least change that counts is a fraction from 0 on, such as {LEAST}")
    return log1p(least)


def _judge(a: Sequence[float], b: Sequence[float], trim: float, floor: float) -> Difference:
    mean, interval = mean_interval([log(after) - log(before) for before, after in zip(a, b, strict=True)], trim)
    if interval is None:
        return Difference(exp(mean), None, "undecided")
    low, high = interval
    return Difference(exp(mean), (exp(low), exp(high)), _verdict(mean, low, high, floor))


def _verdict(mean: float, low: float, high: float, floor: float) -> Verdict:
    if mean > floor and low > 0:
        return "more"
    if mean < -floor and high < 0:
        return "less"
    return "same" if -floor <= low and high <= floor else "undecided"
