"""The policies past the learned positions, as definitions that an oracle can follow token by token."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """Tokens ``first`` to ``stop`` of a history, encoded at ``positions``, answer for those from ``answers`` on."""

    first: int
    stop: int
    answers: int
    positions: tuple[float, ...]


def stretches(policy: str, n_position: int, span: int, length: int) -> list[Stretch]:
    """What each token of a history of ``length`` is answered from. ``span`` tokens are held before any is let go."""
    kind, _, number = policy.partition(":")
    if kind == "recompute":
        parts = []
        for start in range(0, begun(policy, span, length) + 1, int(number)):
            stop = min(start + span, length)
            parts.append(Stretch(start, stop, start + span - int(number) if start else 0, tuple(range(stop - start))))
        return parts
    if kind == "interpolate":
        return [Stretch(0, length, 0, tuple(t / float(number) for t in range(length)))]
    if kind == "shift":
        back = int(number)
        places = [t if t < n_position else n_position - back + (t - n_position) % back for t in range(length)]
        return [Stretch(0, length, 0, tuple(places))]
    return [Stretch(0, length, 0, tuple(range(length)))]


def begun(policy: str, span: int, length: int) -> int:
    """How many of the first tokens a ``recompute`` has let go after ``length``: the least that leaves ``span``."""
    kind, _, number = policy.partition(":")
    if kind != "recompute":
        return 0
    let_go = 0
    while length - let_go > span:
        let_go += int(number)
    return let_go


def reachable(policy: str, span: int, length: int) -> int:
    """The least length to which a history of ``length`` can be cropped without encoding anything again."""
    let_go = begun(policy, span, length)
    return next(n for n in range(length + 1) if begun(policy, span, n) == let_go)
