"""A clock that tests move, and events of a GPU that runs by it."""


class FakeClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += seconds


class FakeEvent:
    """An event on the stream of a device whose time is ``clock``; ``waits`` counts how often the host waited."""

    waits = 0

    def __init__(self, clock):
        self.clock = clock

    def record(self):
        self.at = self.clock()

    def synchronize(self):
        FakeEvent.waits += 1

    def elapsed_time(self, end_event):
        return 1e3 * (end_event.at - self.at)
