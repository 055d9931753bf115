"""Two variants at the same lengths: how many times as fast one is as the other, and from where on they are apart."""

from kvgpt.report.chart import Missing, Point
from kvgpt.report.charts.curves import Curve, Curves, interval

UNCACHED = "v0"  # what a cache is compared with


def speedups(several: Curves, own: str, reference: str) -> Curve:
    """How many times as fast ``own`` is as ``reference``, at each T that both were measured at; Missing at none.

    Its bounds are those of :func:`ratio`.
    """
    for name in (reference, own):
        if name not in several:
            raise Missing(f"no latency of {name} was measured")
    one, other = several[own], several[reference]
    shared = {length: ratio(point, other[length]) for length, point in one.items() if length in other}
    if not shared:
        raise Missing(f"{own} and {reference} were measured at no length in common")
    return shared


def parted(ratios: Curve) -> int | None:
    """The first T from which on the intervals of the two are apart, and the same one is the faster, to the end."""
    since, last = None, None
    for length, point in reversed(ratios.items()):
        bounds = interval(point)
        if bounds is None:
            continue
        faster = int(bounds[0] > 1) - int(bounds[1] < 1)  # 0 where the interval has room for either
        if not faster or faster != (last or faster):
            break
        since, last = length, faster
    return since


def ratio(own: Point, reference: Point) -> Point:
    """How many times as fast, at one T. The bounds are the quotients of the bounds of both, which hold 1 just where
    those overlap, and claim no more than these do together.
    """
    low, high = _quotient(reference.low, own.high), _quotient(reference.high, own.low)
    if low is None or high is None:
        low = high = None
    cases = (*own.cases, *reference.cases)
    return Point(own.x, reference.y / own.y, low, high, length=own.length, batch_size=own.batch_size, cases=cases)


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below is not None and below > 0 else None
