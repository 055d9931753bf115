"""Floor: how fast this device reads, copies and multiplies at best, which every other time is held to."""

from kvgpt.measure.roof import MIB, SIZES, copying, multiplying, reading
from kvgpt.options import SETTINGS


def pytest_generate_tests(metafunc):
    if "mebibytes" in metafunc.fixturenames:
        metafunc.parametrize("mebibytes", [size // MIB for size in SIZES[metafunc.config.stash[SETTINGS].device]])


def bench_read(benchmark, case, time_of, settings, mebibytes):
    _rate(benchmark, case, time_of, "read_bandwidth", reading(settings.device, mebibytes * MIB))


def bench_copy(benchmark, case, time_of, settings):
    _rate(benchmark, case, time_of, "copy_bandwidth", copying(settings.device))


def bench_matmul(benchmark, case, time_of, settings):
    _rate(benchmark, case, time_of, "matmul_rate", multiplying(settings.device, settings.dtype))


def _rate(benchmark, case, time_of, name, probe):
    case.begin("floor", probe=name, working_set=probe.size)
    benchmark.group = "floor"
    timed = time_of(probe.run)
    case.end({name: timed.rate(name, probe.amount)} if timed else {})
