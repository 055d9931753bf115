"""The SM clock: held on request, let go whatever happens, and one sentence where that is not permitted."""

import pytest
from fake_nvml import UUID, FakeNvml

from kvgpt.measure import clock_lock, nvml

LOCK, UNLOCK = "nvmlDeviceSetGpuLockedClocks", "nvmlDeviceResetGpuLockedClocks"


def test_the_application_clock_is_held_unless_another_is_asked_for():
    library = FakeNvml(application_sm_clock=1400)
    outcome = clock_lock.lock(nvml.find(UUID, library))
    assert outcome == clock_lock.Outcome(True, "the SM clock is locked to its application clock, 1400 MHz", 1.4e9)
    outcome = clock_lock.lock(nvml.find(UUID, library), 900e6)
    assert outcome == clock_lock.Outcome(True, "the SM clock is locked to the clock asked for, 900 MHz", 0.9e9)
    assert library.orders == [("lock", 1400), ("lock", 900)]


def test_without_an_application_clock_the_base_clock_is_held():
    library = FakeNvml(sm_clock=1095, missing={"nvmlDeviceGetDefaultApplicationsClock"})
    outcome = clock_lock.lock(nvml.find(UUID, library))
    assert outcome.said == "the SM clock is locked to its base clock, 1095 MHz" and outcome.clock == 1.095e9
    assert library.locked == library.NVML_CLOCK_LIMIT_ID_TDP


def test_a_clock_that_the_gpu_lacks_is_refused_before_anything_is_asked():
    library = FakeNvml(supported=[900, 1500, 210])
    with pytest.raises(ValueError, match=r"SM clock 1000 MHz: .* from 210 to 1500 MHz, the nearest is 900"):
        clock_lock.lock(nvml.find(UUID, library), 1e9)
    assert library.orders == []


def test_unlocking_lets_the_clock_move():
    library = FakeNvml(locked=900)
    assert clock_lock.unlock(nvml.find(UUID, library)).done and library.locked is None


@pytest.mark.parametrize("command", [clock_lock.lock, clock_lock.unlock])
def test_without_permission_one_sentence_says_so(command):
    library = FakeNvml(denied={LOCK, UNLOCK})
    outcome = command(nvml.find(UUID, library))
    assert not outcome.done and outcome.clock is None
    assert outcome.said.endswith("locked: the driver refuses: Insufficient Permissions")


def test_a_run_holds_the_clock_and_lets_it_go():
    library = FakeNvml()
    with clock_lock.locked("cuda", nvml.find(UUID, library)) as outcome:
        assert outcome.done and outcome.clock == 1.4e9 and library.locked == 1400
    assert library.locked is None


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_run_that_fails_or_is_interrupted_lets_the_clock_go(failure):
    library = FakeNvml()
    with pytest.raises(failure), clock_lock.locked("cuda", nvml.find(UUID, library)):
        raise failure
    assert library.orders == [("lock", 1400), ("unlock", 1400)]


def test_an_interrupt_between_the_order_and_its_answer_lets_the_clock_go():
    class Interrupted(FakeNvml):
        def nvmlDeviceSetGpuLockedClocks(self, handle, least, most):
            super().nvmlDeviceSetGpuLockedClocks(handle, least, most)
            raise KeyboardInterrupt

    library = Interrupted()
    with pytest.raises(KeyboardInterrupt), clock_lock.locked("cuda", nvml.find(UUID, library)):
        pytest.fail("the run must not start")
    assert library.locked is None and library.orders[-1] == ("unlock", 1400)


def test_without_permission_a_run_goes_on_and_nothing_is_undone():
    library = FakeNvml(denied={LOCK})
    with clock_lock.locked("cuda", nvml.find(UUID, library)) as outcome:
        assert not outcome.done and "Insufficient Permissions" in outcome.said
    assert library.orders == [], "a lock of somebody else's stays"


def test_a_clock_that_cannot_be_let_go_is_said():
    library = FakeNvml(denied={UNLOCK})
    with (
        pytest.warns(RuntimeWarning, match="not unlocked: the driver refuses: Insufficient Permissions: run `kvgpt"),
        clock_lock.locked("cuda", nvml.find(UUID, library)),
    ):
        pass


def test_on_a_cpu_a_run_goes_on():
    with clock_lock.locked("cpu") as outcome:
        assert outcome == clock_lock.Outcome(False, "the SM clock is not locked: a CPU is no GPU")
