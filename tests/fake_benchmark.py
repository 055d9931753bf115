"""pytest-benchmark's fixture, on a clock that goes on only where it is told to."""

from types import SimpleNamespace


class Bench:
    """What :func:`timed` asks of pytest-benchmark's fixture."""

    def __init__(self, clock, disabled=False):
        self.clock, self.disabled, self.asked = clock, disabled, None
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[]), update=self._add)

    def _add(self, seconds):
        self.stats.stats.data.append(seconds)

    def pedantic(self, target, setup, teardown=None, rounds=1):
        self.asked = rounds
        for _ in range(rounds):
            assert setup() is None, "pytest-benchmark would take it for arguments"
            begun = self.clock()
            result = target()
            self.stats.update(self.clock() - begun)
            if teardown:
                teardown()
        return result
