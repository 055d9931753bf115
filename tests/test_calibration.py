"""Known answers: sound instruments give them, and each unsound one is found out."""

import time

import pytest
from fake_clock import FakeClock

from kvgpt import perplexity
from kvgpt.measure import calibration, memory


def answers():
    clock = FakeClock()
    return {answer.what: answer for answer in calibration.calibrate("cpu", clock, 1e10, clock.advance)}


def wrong():
    return [what for what, answer in answers().items() if not answer.right]


def test_sound_instruments_give_every_known_answer():
    assert len(answers()) == 5 and wrong() == []


@pytest.mark.parametrize(("speed", "right"), [(1.0, True), (1.019, True), (1.021, False), (0.979, False)])
def test_a_clock_that_is_two_percent_off_is_found_out(speed, right):
    clock = FakeClock()
    assert calibration.slept(lambda: speed * clock(), clock.advance).right is right


def test_a_machine_that_wakes_late_once_is_no_wrong_clock():
    clock, late = FakeClock(), [0.3, 0.0, 0.1, 0.0, 0.0]
    assert calibration.slept(clock, lambda seconds: clock.advance(seconds + late.pop())).right


def test_this_machines_clock_is_right():
    assert calibration.slept(time.perf_counter).value >= 0.98 * calibration.SLEEP


def test_a_copy_that_was_not_made_is_too_fast():
    assert not calibration.Answer("a copy", 1e15, 0.0, calibration.most_bandwidth("cpu")).right
    assert calibration.most_bandwidth("cpu") >= 1e12


def test_an_allocator_that_loses_bytes_is_found_out(monkeypatch):
    monkeypatch.setattr(calibration, "allocation", lambda run, device: memory.Allocation(999_999, 1_000_000))
    assert wrong() == ["an allocation (B)"]


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_an_evaluator_that_is_off_is_found_out(monkeypatch, factor):
    true = perplexity.teacher_forced

    def off(engine, windows):
        score = true(engine, windows)
        return perplexity.Score(score.nll * factor, score.window, score.served)

    monkeypatch.setattr(perplexity, "teacher_forced", off)
    assert wrong() == ["zero logits (perplexity)", "a source of two states (nats a token)"]


def test_an_answer_says_what_would_be_right():
    assert (
        str(calibration.Answer("a sleep (s)", 0.06, 0.049, 0.051))
        == "a sleep (s) reads 0.06, where 0.049 to 0.051 is right"
    )


@pytest.mark.gpu
def test_a_gpus_memory_has_a_bandwidth():
    assert 1e11 < calibration.most_bandwidth("cuda") < 2e13
