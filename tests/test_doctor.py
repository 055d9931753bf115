"""The doctor: what works here and why something does not, and the commands that ask."""

import subprocess
import sys

import fake_ncu
import pytest
import torch
from fake_nvml import UUID, FakeNvml

from kvgpt import cli
from kvgpt.measure import doctor, host, nvml


@pytest.fixture(autouse=True)
def _no_gpu(request, monkeypatch):
    if not request.node.get_closest_marker("gpu"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def found(device="cpu", gpu=None, **others):
    return {one.what: one for one in doctor.examine(device, gpu, **others)}


def test_what_a_run_could_use_is_listed():
    on_cpu = found()
    assert {"torch", "threads", "timer", "CUDA events", "resident memory", "allocator", "last-level cache"} <= set(
        on_cpu
    )
    assert {"NVML", "locking of clocks", "Triton", "torch.compile", "transformers", "matplotlib"} <= set(on_cpu)
    assert on_cpu["torch"].said == torch.__version__ and on_cpu["device cpu"].works
    assert on_cpu["network"].works is None and "nothing is fetched" in on_cpu["network"].said


def test_without_a_gpu_no_figure_of_one_is_shown():
    for device in ("cpu", "cuda"):
        listed = found(device)
        for what in ("CUDA events", "NVML", "Triton"):
            assert (listed[what].works, listed[what].said) == (False, "torch sees no CUDA device")
        assert not [what for what in listed if what.startswith("GPU sm")]
    for what in ("device cuda", "allocator", "last-level cache"):
        assert (listed[what].works, listed[what].said) == (False, "torch sees no CUDA device")


def test_which_counters_work_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install" in found()["a CPU's counters"].said and not found()["a CPU's counters"].works
    assert found()["a GPU's counters"].said == "torch sees no CUDA device"
    monkeypatch.setattr(doctor.devices, "no_cuda", lambda: None)
    counters = {one.what: one for one in doctor._counters()}
    assert "no ncu on PATH" in counters["a GPU's counters"].said
    path, _ = fake_ncu.install(tmp_path)
    counters = {one.what: one for one in doctor._counters()}
    assert counters["a GPU's counters"].works is None and "ncu 2025.1.0.0" in counters["a GPU's counters"].said
    assert path == str(tmp_path / "ncu")


def test_each_reading_of_a_gpu_is_listed_with_its_value_or_why_not():
    gpu = nvml.find(UUID, FakeNvml(missing={"nvmlDeviceGetPowerUsage"}, denied={"nvmlDeviceGetMigMode"}, state=32))
    listed = found(gpu=gpu)
    assert listed["NVML"].said == "driver 999.1"
    assert listed["GPU sm clock"].said == "1.4 GHz" and listed["GPU power limit"].said == "300 W"
    assert listed["GPU throttle reasons"].said == "none" and listed["GPU other processes"].said == "0"
    assert (listed["GPU power"].works, listed["GPU power"].said) == (False, "Not Supported")
    assert (listed["GPU mig"].works, listed["GPU mig"].said) == (False, "Insufficient Permissions")
    assert listed["GPU performance state"].said == "the driver does not say"


@pytest.mark.parametrize(("uid", "who"), [(0, "this process is root"), (1000, "this process is not root")])
def test_permission_to_lock_clocks_is_not_tried(monkeypatch, uid, who):
    monkeypatch.setattr("os.geteuid", lambda: uid)
    library = FakeNvml()
    finding = found(gpu=nvml.find(UUID, library))["locking of clocks"]
    assert finding.works is None and who in finding.said and library.orders == []


def test_a_system_that_says_nothing_is_said_to(tmp_path):
    listed = found(host=host.Host(tmp_path, tmp_path, cores=(0,)))
    for what in ("others' share of cores", "stolen time", "throttled by cgroups", "core frequency"):
        assert listed[what].works is False and listed[what].said.startswith(("no ", "neither "))


def test_torch_compile_needs_a_compiler_and_on_a_gpu_triton(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: "/opt/clang++" if name == "clang++" else None)
    assert found()["torch.compile"].said == "compiles with /opt/clang++"
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert found()["torch.compile"].said == "needs a C++ compiler on PATH (g++, clang++, c++)"
    assert found("cuda")["torch.compile"].said == "needs a C++ compiler on PATH (g++, clang++, c++) and Triton"


def test_a_package_that_is_absent_says_what_it_is_for(monkeypatch):
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-distribution": "peers"})
    assert found()["no-such-distribution"].said == "not installed, it is for peers"


def test_a_damaged_checkpoint_is_found(monkeypatch, tmp_path):
    for name in ("nano", "nano-rotary"):
        (tmp_path / name).mkdir()
    (tmp_path / "nano/kvgpt-manifest.json").write_text('{"format": 1, "files": {}}')
    monkeypatch.setattr("kvgpt.checkpoint.SHIPPED", tmp_path)
    listed = found()
    assert not listed["checkpoint nano"].works and "lists no 'config.json'" in listed["checkpoint nano"].said
    assert listed["checkpoint nano-rotary"].said == f"no kvgpt-manifest.json in {tmp_path / 'nano-rotary'}"


def test_the_timers_step_is_the_smallest_that_it_takes():
    ticks = iter([0.0, 0.0, 0.003, 0.003, 0.004, 0.006])
    assert doctor.timer_step(lambda: next(ticks), readings=3) == pytest.approx(0.001)


def test_the_table_tells_what_works_from_what_does_not_and_from_what_was_not_tried():
    lines = doctor.table(
        [doctor.Finding("a", True, "x"), doctor.Finding("b", False, "y"), doctor.Finding("c", None, "z")]
    )
    assert [line.split() for line in lines[1:]] == [["a", "yes", "x"], ["b", "no", "y"], ["c", "not", "tried", "z"]]


def test_the_command_prints_the_table(capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "device cpu" in out and "checkpoint nano" in out and "device cuda" not in out
    assert cli.main(["doctor", "--device", "cuda"]) == 0
    assert "device cuda" in capsys.readouterr().out


def test_pstates_without_a_gpu_says_so_and_shows_none(capsys):
    assert cli.main(["doctor", "--pstates", "--device", "cuda"]) == 0
    assert capsys.readouterr().out == "no clocks to show: torch sees no CUDA device\n"


def test_the_command_locks_and_unlocks(capsys, monkeypatch):
    library = FakeNvml()
    monkeypatch.setattr("kvgpt.measure.device.gpu", lambda device: nvml.find(UUID, library))
    assert cli.main(["clocks", "lock", "--sm", "900"]) == 0 and library.locked == 900
    assert cli.main(["clocks", "lock"]) == 0 and library.locked == 1400
    assert cli.main(["clocks", "unlock"]) == 0 and library.locked is None
    assert capsys.readouterr().out.splitlines()[1] == "the SM clock is locked to its application clock, 1400 MHz"


@pytest.mark.parametrize("action", ["lock", "unlock"])
def test_without_a_gpu_or_permission_the_command_says_so_and_exits_with_1(capsys, monkeypatch, action):
    assert cli.main(["clocks", action]) == 1
    assert capsys.readouterr().err.endswith("locked: torch sees no CUDA device\n")
    library = FakeNvml(denied={"nvmlDeviceSetGpuLockedClocks", "nvmlDeviceResetGpuLockedClocks"})
    monkeypatch.setattr("kvgpt.measure.device.gpu", lambda device: nvml.find(UUID, library))
    assert cli.main(["clocks", action]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("locked: the driver refuses: Insufficient Permissions\n") and err.count("\n") == 1


@pytest.mark.parametrize("sm", ["0", "-5", "1000"])
def test_a_clock_that_no_gpu_has_is_bad_input(capsys, monkeypatch, sm):
    monkeypatch.setattr("kvgpt.measure.device.gpu", lambda device: nvml.find(UUID, FakeNvml()))
    assert cli.main(["clocks", "lock", "--sm", sm]) == 2
    assert capsys.readouterr().err.startswith(f"kvgpt clocks: SM clock {sm} MHz")


def test_help_needs_no_torch():
    script = (
        "import sys; from kvgpt import cli; cli._parser(); sys.exit('torch' in sys.modules or 'pynvml' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.gpu
def test_a_gpu_is_examined():
    listed = found("cuda")
    assert listed["NVML"].works and listed["CUDA events"].works and listed["last-level cache"].works
