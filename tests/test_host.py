"""The processors' counters, from folders made as Linux makes /proc and /sys."""

import pytest

from kvgpt.measure import host


@pytest.fixture
def machine(tmp_path):
    """Four cores, of which this process may run on 1 and 3; one tick is 10 ms on every Linux in use."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys").mkdir()
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\n"
    stat += "".join(f"cpu{core} {core}00 20 30 4000 50 6 7 8 0 0\n" for core in range(4)) + "intr 1 2 3\nctxt 5\n"
    (tmp_path / "proc/stat").write_text(stat)
    (tmp_path / "proc/self/stat").write_text("7 (py) thon (x) S 1 1 1 0 -1 0 1 2 3 4 110 20 30 4 20 0 9 0 99\n")
    (tmp_path / "proc/loadavg").write_text("2.50 1.00 0.50 3/400 999\n")
    return host.Host(tmp_path / "proc", tmp_path / "sys", cores=(1, 3), clock=lambda: 12.5)


def test_the_time_of_the_cores_that_a_process_may_use(machine):
    reading = machine.read()
    assert reading.at == 12.5 and reading.cores == 2 and reading.load == 2.5
    assert reading.busy == pytest.approx(
        (400 + 2 * (20 + 30 + 6 + 7)) * host.TICK
    )  # neither idle nor waiting for disks
    assert reading.stolen == pytest.approx(16 * host.TICK)
    assert reading.own == pytest.approx(164 * host.TICK), (
        "user, system, and those of children, past a name with brackets"
    )


def test_what_a_system_does_not_say_is_absent(tmp_path):
    assert host.Host(tmp_path, tmp_path, cores=(0,), clock=lambda: 1.0).read() == host.Reading(at=1.0, cores=1)


def test_cores_that_the_kernel_does_not_list_leave_their_time_unknown(machine):
    machine.cores = frozenset({1, 9})
    assert machine.read().busy is None and machine.read().stolen is None


def test_throttling_by_version_2_is_that_of_the_group_and_of_those_above(machine, tmp_path):
    (tmp_path / "proc/self/cgroup").write_text("0::/user/app:1\n")
    folder = tmp_path / "sys/fs/cgroup/user"
    folder.mkdir(parents=True)
    (folder / "app:1").mkdir()
    (folder / "app:1/cpu.stat").write_text("usage_usec 900\nnr_periods 9\nnr_throttled 2\nthrottled_usec 1500000\n")
    (folder / "cpu.stat").write_text("nr_throttled 1\nthrottled_usec 250000\n")
    (folder.parent / "cpu.stat").write_text("usage_usec 5\n")  # the root has no quota
    (folder.parent.parent / "cpu.stat").write_text("throttled_usec 9000000\n")  # no group
    assert machine.read().throttled == pytest.approx(1.75)


def test_throttling_by_version_1_is_counted_in_nanoseconds(machine, tmp_path):
    (tmp_path / "proc/self/cgroup").write_text("5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n0::/\n")
    folder = tmp_path / "sys/fs/cgroup/cpu,cpuacct"
    folder.mkdir(parents=True)
    (folder / "cpu.stat").write_text("nr_periods 4\nnr_throttled 3\nthrottled_time 2000000000\n")
    assert machine.read().throttled == pytest.approx(2.0), "in a container the group is mounted as the root"


def test_a_group_without_a_quota_leaves_throttling_unknown(machine, tmp_path):
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    assert machine.read().throttled is None


def test_frequencies_come_from_cpufreq_else_from_cpuinfo(machine, tmp_path):
    assert machine.frequencies() == ()
    cpuinfo = "".join(f"processor\t: {core}\ncpu MHz\t\t: {1000 + core}.5\n\n" for core in range(4))
    (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert machine.frequencies() == (1.0015e9, 1.0035e9)
    for core in (1, 3):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{core}200000\n")
    assert machine.frequencies() == (1.2e9, 3.2e9)


def test_this_machine_can_be_read():
    before, after = host.Host().read(), host.Host().read()
    assert after.at >= before.at and after.cores >= 1
    assert before.own is None or after.own >= before.own
