"""Clocks: events on a stream, subtracted late and pair by pair."""

import pytest
import torch
from fake_clock import FakeClock, FakeEvent

from kvgpt.measure import clocks


def test_nothing_waits_until_two_marks_are_subtracted():
    clock, log = FakeClock(), []
    begun = clocks.Mark(FakeEvent(clock, log))
    clock.advance(0.25)
    ended = clocks.Mark(FakeEvent(clock, log))
    clock.advance(9.0)
    assert log == ["record", "record"]
    assert ended - begun == pytest.approx(0.25) and log == ["record", "record", "synchronize"]


def test_a_late_pair_is_as_fine_as_an_early_one():
    clock = FakeClock()
    clock.advance(3600.0)
    begun = clocks.Mark(FakeEvent(clock, []))
    clock.advance(1e-6)
    assert clocks.Mark(FakeEvent(clock, [])) - begun == pytest.approx(1e-6, rel=1e-3)


def test_a_cpu_has_one_clock():
    assert clocks.device_clock("cpu") is clocks.host_clock("cpu")
    assert clocks.device_clock("cuda") is clocks.cuda_events and clocks.host_clock("cuda") is clocks.synchronised


@pytest.mark.gpu
def test_events_and_the_host_agree_on_a_long_wait():
    begun, start = clocks.synchronised(), clocks.cuda_events()
    torch.cuda._sleep(500_000_000)
    end = clocks.cuda_events()
    waited = clocks.synchronised() - begun
    assert end - start == pytest.approx(waited, rel=0.02)
