"""Calm: which moments of a machine count, told by pulses and never by what is measured in them."""

import random
from types import SimpleNamespace

import pytest
import torch
from fake_benchmark import Bench
from fake_clock import FakeClock
from torch.utils._python_dispatch import TorchDispatchMode

from kvgpt.measure import calm
from kvgpt.measure.calm import LONGER, LONGEST, Gauge, of_processor
from kvgpt.measure.moments import MOMENT, NEAR, SHARE, Moments
from kvgpt.measure.roof import SIZES, Roof
from kvgpt.measure.rounds import timed
from kvgpt.measure.small_operations import small_operations
from kvgpt.pulses import LIMIT, folded, of_passes, slowness

PULSE = 0.001  # s, on a machine that is calm


class Machine:
    """A clock, and how many times slower than at best everything is, by the time; ``body`` takes ``seconds``.

    Its gauge has seen the best of it.
    """

    def __init__(self, slowness, seconds=0.01):
        self.clock, self.slowness, self.seconds = FakeClock(), lambda now: 1.0, seconds
        self.gauge = Gauge({"work": lambda: self._take(PULSE)}, clock=self.clock)
        self.clock.now, self.slowness = 0.0, slowness

    def _take(self, seconds):
        self.clock.advance(seconds * self.slowness(self.clock.now))

    def run(self, **effort):
        settings = SimpleNamespace(**{"warmup": 0, "rounds": 6, "precision": 0.02, "seconds": 5.0} | effort)
        bench = Bench(self.clock)
        body = lambda: self._take(self.seconds)  # noqa: E731 -- beside what it stands for
        found = timed(bench, body, settings, self.clock, self.clock, gauge=self.gauge, now=self.clock)
        assert bench.stats.stats.data == found.seconds, "pytest-benchmark has the rounds that count"
        return found


def alternating(slow, period=1.0):
    """Calm for one half of each period, from its beginning."""
    return lambda now: slow if now % period >= period / 2 else 1.0


def test_rounds_of_slow_moments_do_not_count():
    machine = Machine(alternating(1.7))
    found = machine.run(rounds=60)
    assert len(found.seconds) >= 60 and found.seconds == pytest.approx([0.01] * len(found.seconds))
    assert found.kept == sorted(set(found.kept)) and found.kept[-1] > len(found.kept), "others ran between them"
    assert 0.4 < found.details["calm_share"] < 0.9
    assert found.details["pulse"] == {"work": pytest.approx(PULSE)}


def test_what_is_a_little_slower_is_calm_as_well():
    found = Machine(alternating(0.98 * LIMIT)).run(rounds=60)
    assert found.details["calm_share"] == 1.0 and len({round(one, 4) for one in found.seconds}) == 2


def test_rounds_are_chosen_by_pulses_and_not_by_what_they_took():
    machine = Machine(lambda now: 1.0)
    taken = [0.01, 0.05]

    def body():
        machine.clock.advance(taken[int(machine.clock.now * 10) % 2])

    settings = SimpleNamespace(warmup=0, rounds=30, precision=0.02, seconds=5.0)
    found = timed(
        Bench(machine.clock), body, settings, machine.clock, machine.clock, gauge=machine.gauge, now=machine.clock
    )
    assert {round(one, 6) for one in found.seconds} == set(taken), "slow rounds of calm moments count like any other"


def test_a_case_waits_for_calm_moments_but_not_for_long():
    waits = Machine(lambda now: 1.8 if now < 3.0 else 1.0)
    found = waits.run(seconds=1.0)
    assert found.seconds == pytest.approx([0.01] * len(found.seconds)) and 3.0 < waits.clock.now < 4.0
    assert waits.gauge.left == pytest.approx(calm.IN_ALL - (waits.clock.now - 1.0), abs=0.1)
    never = Machine(lambda now: 1.8)
    found = never.run(seconds=1.0)
    assert 1.0 + LONGER - 0.1 < never.clock.now < 1.0 + LONGER + 0.1
    assert found.details["calm_share"] == 0.0 and found.details["pulse"]["work"] == pytest.approx(1.8 * PULSE)
    assert len(found.seconds) == pytest.approx(5.0 / 0.036, rel=0.1), "one of every moment, of two rounds each"
    begun = never.clock.now
    never.run(seconds=10.0)
    assert never.clock.now - begun == pytest.approx(10.0 + LONGEST, abs=0.1)
    for _ in range(20):
        never.run(seconds=1.0)
    begun = never.clock.now
    never.run(seconds=1.0)
    assert never.clock.now - begun < 1.1 and 0.0 <= never.gauge.left < 0.01, "a run's patience comes to an end"


def test_where_no_moment_is_calm_one_round_of_every_moment_counts_however_slow_its_pulses():
    found = Machine(lambda now: 2.0 if now % 0.4 < 0.2 else 3.0).run(seconds=0.5)
    levels = [round(seconds, 3) for seconds in found.seconds]
    assert levels.count(0.02) == pytest.approx(1.5 * levels.count(0.03), rel=0.1) and found.details["calm_share"] == 0.0
    assert 2 * PULSE <= found.details["pulse"]["work"] <= 3 * PULSE


class Scattering(Machine):
    """A machine that is always so slow, and its pulses scatter by themselves."""

    def __init__(self, slow, scatter):
        self.luck, self.scatter = random.Random(0), lambda luck: 1.0
        super().__init__(lambda now: slow, seconds=MOMENT)
        self.scatter = scatter  # its gauge has seen the best of it

    def _take(self, seconds):
        super()._take(seconds * (self.scatter(self.luck) if seconds == PULSE else 1.0))


def test_a_few_lucky_pulses_make_no_moments_calm():
    found = Scattering(1.6, lambda luck: luck.choice([0.6, 1.0, 1.0, 1.0])).run(seconds=3.0)
    assert 0 < found.details["calm_share"] < SHARE
    assert len(found.seconds) > 300, "of rounds that all took alike, none is left out"


def test_pulses_that_scatter_choose_no_short_moments_by_their_luck():
    found = Scattering(1.0, lambda luck: max(1.0, luck.gauss(1.22, 0.12))).run(seconds=20.0, rounds=200)
    assert 0.05 < found.details["calm_share"] < SHARE, "of a third the pulses at both ends are low"
    assert found.details["pulse"]["work"] == pytest.approx(1.22 * PULSE, rel=0.01)


def test_a_machine_that_turns_out_faster_makes_earlier_moments_slow():
    machine = Machine(lambda now: 1.0)
    machine.gauge.best["work"] = 10 * PULSE
    machine.gauge.pulse()
    assert machine.gauge.best == {"work": PULSE}
    late = Machine(lambda now: 1.6 if now < 0.4 else 1.0)
    late.gauge.best["work"] = 1.6 * PULSE  # all that it has seen so far
    found = late.run(rounds=60)
    assert found.seconds == pytest.approx([0.01] * len(found.seconds))
    assert found.details["calm_share"] < 0.75, "of earlier moments it says what is known at the end"


def test_what_a_case_leaves_near_the_cores_is_no_measure_for_the_next():
    clock, seconds = FakeClock(), {"cores": 1.0, "memory": 1.0}
    work = {kind: lambda kind=kind: clock.advance(seconds[kind]) for kind in seconds}
    gauge = Gauge(work, of_a_case=["memory"], clock=clock)
    seconds |= {"cores": 2.0, "memory": 2.0}
    Moments(gauge, clock)
    assert gauge.best == {"cores": 1.0, "memory": 2.0}


def test_what_makes_ready_is_done_before_its_kind_and_not_timed():
    clock, done = FakeClock(), []
    take = lambda what, seconds: lambda: (done.append(what), clock.advance(seconds))  # noqa: E731 -- two at once
    gauge = Gauge({"a": take("a", 1.0), "b": take("b", 2.0)}, clock=clock, ready={"b": take("ready", 5.0)})
    assert gauge.pulse() == gauge.best == {"a": 1.0, "b": 2.0} and done[-3:] == ["a", "ready", "b"]


def test_the_operations_of_a_pulse_are_of_many_kinds_and_alike_each_time():
    class Names(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.found = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.found.append(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    run, seen = small_operations(), []
    for _ in range(3):
        with Names() as names:
            run()
        seen.append(names.found)
    assert seen[0] == seen[1] == seen[2] and len(set(seen[0])) >= 35
    assert {"addmm", "layer_norm", "gelu", "embedding", "index_copy_", "scaled_dot_product_attention"} <= set(seen[0])


@pytest.mark.parametrize(("lasts", "calm"), [(1.1 * MOMENT, [0, 5]), (0.9 * NEAR, [0, 5]), (2 * NEAR, [0, 1, 4, 5])])
def test_a_moment_is_as_slow_as_the_slowest_pulse_at_its_ends_and_where_it_is_short_next_to_them(lasts, calm):
    machine = Machine(lambda now: 1.0)
    moments = Moments(machine.gauge, machine.clock)
    for place in range(6):
        machine.clock.advance(lasts)
        machine.slowness = lambda now, place=place: 2.0 if place == 2 else 1.0  # of the pulse that ends this moment
        moments.add(place, lasts, lasts, 100)
    moments.close(100)
    assert [one.place for one in moments.counted(1)] == calm and moments.calm_share == len(calm) / 6


def test_without_work_every_round_counts_and_nothing_is_said():
    gauge = Gauge({})
    assert gauge.pulse() == {} and gauge.slowness({}) == 1.0 and gauge.left == gauge.patience(1.0) == 0.0
    moments = Moments(gauge, FakeClock())
    for place in range(3):
        moments.add(place, 1.0, 1.0, 2)
    assert [one.place for one in moments.counted(1)] == [0, 1] and moments.details(moments.calm) == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_a_processor_is_gauged_by_what_a_step_is_made_of(dtype, monkeypatch):
    weights = [torch.zeros(1000, dtype=dtype), torch.zeros(50, 20, dtype=dtype).T, torch.zeros(40, 50, dtype=dtype)]
    read, amax = [], torch.Tensor.amax
    monkeypatch.setattr(torch.Tensor, "amax", lambda one: (read.append(one.nbytes), amax(one)))
    gauge = of_processor(torch.nn.Parameter(one, requires_grad=False) for one in weights)
    kinds = ["operations", "cores", "caches"]
    assert list(gauge.best) == kinds == list(gauge.pulse()) and all(0 < best < 1.0 for best in gauge.best.values())
    assert gauge.slowness(gauge.best) == 1.0
    assert gauge.slowness({**gauge.best, "cores": 3 * gauge.best["cores"]}) == pytest.approx(3.0)
    assert read[-2:] == [1000 * dtype.itemsize, 2000 * dtype.itemsize], "what is not contiguous would be copied"


def test_a_gauge_reads_weights_that_are_trained():
    assert of_processor([torch.nn.Parameter(torch.ones(8))]).pulse()["caches"] > 0


def test_weights_in_a_cache_are_read_as_fast_as_a_case_leaves_them_there_and_memory_is_a_runs():
    near, far = of_processor([torch.ones(8)]), of_processor()
    for gauge in (near, far):
        gauge.begin_case()
    assert near.best["caches"] == float("inf") > far.best["memory"] and near.best["cores"] < 1.0


def test_pulses_that_read_memory_are_probes_of_it():
    gauge = of_processor()
    gauge.best["memory"] = 0.5
    found = Roof(read={1024: 1.0, SIZES["cpu"][-1]: 7000.0})
    found.raise_to(gauge.roof())
    assert found.read == {1024: 1.0, SIZES["cpu"][-1]: 2 * SIZES["cpu"][-1]}
    assert of_processor([torch.ones(1000)]).roof() == Roof() == Gauge({}).roof()


def test_a_case_knows_how_fast_memory_was_read_between_the_rounds_that_count():
    clock, seconds = FakeClock(), iter([4.0] * calm.WARM_UPS + [5.0, 2.0, 2.2, 9.0])
    gauge = Gauge({"memory": lambda: clock.advance(next(seconds))}, clock=clock, nbytes=110)
    moments = Moments(gauge, clock)
    for place in range(3):
        clock.advance(100.0)
        moments.add(place, 1.0, 1.0, 10)
    (one,) = moments.counted(1)
    assert one.place == 1 and moments.details([one])["read_bandwidth"] == pytest.approx(55.0)


def entry(**pulse):
    return {"extra_info": {"kvgpt": {"details": {"pulse": pulse}}}}


def test_of_passes_how_slow_the_machine_was_that_each_case_met():
    calm_pass = {"a": entry(memory=1.0, cores=1.0), "b": entry(memory=3.0, cores=1.0), "c": entry()}
    slow_pass = {"a": entry(memory=1.0, cores=1.3), "b": entry(memory=3.7, cores=1.2), "d": entry(memory=9.0)}
    bare = {"extra_info": {"kvgpt": {}}}
    calm, slow, unknown = of_passes([calm_pass, slow_pass, {"a": bare}])
    assert calm == dict.fromkeys("abc", 1.0) and unknown == {"a": 1.0}
    assert slow == {"a": 1.3, "b": pytest.approx(3.7 / 3), "d": 1.0}, "each case beside itself"
    assert of_passes([slow_pass, calm_pass]) == [slow, calm] and of_passes([{}, {}]) == [{}, {}]


def test_pulses_are_compared_by_the_kinds_that_both_have():
    assert slowness({"a": 3.0, "b": 2.0, "c": 9.0}, {"a": 2.0, "b": 1.0}) == 2.0
    assert slowness({"a": 3.0}, {}) == slowness({}, {"a": 3.0}) == 1.0
    assert folded([{"a": 1.0, "b": 1.0}, {"a": 5.0}, {"a": 2.0}]) == {"a": 2.0} and folded([]) == folded([{}]) == {}
