"""A clock that goes on only where it is told to, and a GPU's events that are read off it."""


class FakeClock:
    """Seconds that pass in :meth:`advance` alone, and ``cost`` of them in each reading, after it was taken."""

    def __init__(self, cost=0.0):
        self.now, self.cost, self.readings = 0.0, cost, 0

    def advance(self, seconds):
        self.now += seconds

    def __call__(self):
        self.readings += 1
        shown, self.now = self.now, self.now + self.cost
        return shown


class FakeEvent:
    """``torch.cuda.Event`` on a stream that follows ``clock``; ``log`` tells when it was recorded and waited for."""

    def __init__(self, clock, log):
        self._clock, self._log = clock, log
        self._at, self._reached = None, False

    def record(self):
        self._log.append("record")
        self._at = self._clock()

    def synchronize(self):
        self._log.append("synchronize")
        self._reached = True

    def elapsed_time(self, end_event):
        if not end_event._reached:
            raise RuntimeError("the stream may not have come to this event yet")
        return (end_event._at - self._at) * 1e3
