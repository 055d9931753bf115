"""Floor: how fast this device reads, copies and multiplies at best, which every other time is held to."""

from kvgpt.measure.roof import MIB, SIZES, Roof, copying, multiplying, reading
from kvgpt.options import SETTINGS

COMPARED = ("mebibytes",)  # one device's rates by size are one curve
ALONE = "the floor family probes a device by itself; each rank's floors come from its own probes"


def pytest_generate_tests(metafunc):
    if "mebibytes" in metafunc.fixturenames:
        metafunc.parametrize("mebibytes", [size // MIB for size in SIZES[metafunc.config.stash[SETTINGS].device]])


def bench_read(benchmark, case, time_of, floors, settings, mebibytes):
    probe = reading(settings.device, mebibytes * MIB)
    best = _rate(benchmark, case, time_of, "read_bandwidth", probe)
    floors.roof.raise_to(Roof(read={probe.size: best}))


def bench_copy(benchmark, case, time_of, floors, settings):
    floors.roof.raise_to(Roof(copy=_rate(benchmark, case, time_of, "copy_bandwidth", copying(settings.device))))


def bench_matmul(benchmark, case, time_of, floors, settings):
    probe = multiplying(settings.device, settings.dtype)
    floors.roof.raise_to(Roof(flops=_rate(benchmark, case, time_of, "matmul_rate", probe)))


def _rate(benchmark, case, time_of, name, probe):
    """Leave a record of the median rate; the best of all rounds comes back, for the roof."""
    case.begin("floor", probe=name, working_set=probe.size)
    benchmark.group = "floor"
    timed = time_of(probe.run)
    case.end({name: timed.rate(name, probe.amount)} if timed else {})
    return probe.amount / min(timed.seconds) if timed else 0.0
