"""When there are kernels, how a launch is laid out, and that they compile where none can run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stored import kernels

from kvgpt.kernels.available import available
from kvgpt.kernels.choose import decoding
from kvgpt.kernels.plan import MOST_PARTS, Meeting, padded, plan, tile

CPU = torch.device("cpu")
HERE = Path(__file__).parent


def meeting_of(programs):
    """As on a device that runs so many at once."""
    meeting = Meeting(CPU)
    meeting.programs = programs
    return meeting


def test_a_cpu_has_no_kernels_unless_they_are_interpreted():
    assert not available(CPU) and decoding("dense", torch.float32, CPU) is None
    kernels("dense")
    assert available(CPU, interpreted=True)


def test_float64_and_storages_without_a_kernel_stay_plain():
    assert decoding("dense", torch.float64, torch.device("cuda")) is None


def test_who_has_no_gpu_never_waits_for_triton():
    script = (
        "import sys, torch, kvgpt; model = kvgpt.GPT(kvgpt.GPTConfig(1, 1, 8, 5, 6));"
        "ids = torch.zeros(1, 2, dtype=torch.int64);"
        "[kvgpt.Engine(model, name).generate(ids, 2) for name in ('v1', 'v2', 'int4')];"
        "sys.exit('triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("head_dim", [1, 7, 8, 48, 64, 128, 256, 512])
def test_tiles_are_powers_of_two_of_about_one_size(head_dim):
    assert padded(tile(head_dim)) == tile(head_dim) and 16 <= tile(head_dim) <= 128


def test_a_batch_of_one_is_divided_until_it_fills_the_device_and_a_large_one_is_not():
    assert [meeting_of(264).parts(rows, tiles=16) for rows in (16, 128, 1024)] == [16, 2, 1]
    assert meeting_of(264).parts(rows=16, tiles=3) == 3, "parts without room for a tile have nothing to do"
    assert meeting_of(264).parts(rows=1, tiles=10_000) == MOST_PARTS


def test_parts_meet_where_they_met_before():
    meeting = Meeting(CPU)
    first, other = meeting.place(4, 3, 8), meeting.place(2, 3, 8)
    again = meeting.place(4, 3, 8)
    assert [one.data_ptr() for one in again] == [one.data_ptr() for one in first] != [one.data_ptr() for one in other]
    assert first[0].shape == (4, 3, 10) and first[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("parts", [0, MOST_PARTS + 1])
def test_more_parts_than_can_be_added_up_are_refused(parts):
    with pytest.raises(ValueError, match=rf"parts={parts}: .* 1 to {MOST_PARTS}; None"):
        Meeting(CPU, parts)


@pytest.mark.parametrize(("tokens", "dtype"), [(2, torch.float32), (1, torch.float64)])
def test_what_is_no_decode_step_is_refused(tokens, dtype):
    q = torch.zeros(1, 1, tokens, 8, dtype=dtype)
    with pytest.raises(ValueError, match=rf"{tokens} queries of {dtype}.*plain attention"):
        plan(q, heads=1, room=4, meeting=Meeting(CPU))


@pytest.mark.parametrize("storage", ["dense", "int8", "int4"])
def test_a_kernel_compiles_for_gpus_that_are_not_here(storage, tmp_path):
    kernels(storage, device="compiled")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(HERE / "compiled.py"), storage],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{architecture} {own}: 16-byte loads in flight, one arrival, nothing spilt"
        for architecture in (80, 90)
        for own in ("appends", "follows")
    ]
