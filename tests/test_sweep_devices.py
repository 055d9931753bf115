"""Which device each worker has: out of those that are visible already, as they are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.measure.sweep import devices, preparing
from kvgpt.measure.sweep.plan import Plan
from kvgpt.measure.sweep.preparing import Shard

MIG = "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/0"


@pytest.mark.parametrize(
    ("said", "count", "expected"),
    [
        (None, 2, ("0", "1")),
        ("2,5", 2, ("2", "5")),
        ("5, 2", 2, ("5", "2")),
        ("0,1,-1,3", 2, ("0", "1")),
        ("0,1,7", 2, ("0", "1")),
        ("", 0, ()),
        ("GPU-8932f937,GPU-1", 2, ("GPU-8932f937", "GPU-1")),
        (f"{MIG},{MIG[:-1]}1", 1, (MIG, f"{MIG[:-1]}1")),  # CUDA shows a process one part at a time
    ],
)
def test_what_is_visible_is_what_cuda_takes_it_for(said, count, expected):
    assert devices.visible(said, count) == expected


def test_a_worker_sees_the_entry_of_its_place_and_all_else_of_its_parent():
    entries = devices.one_each(2, ["7", MIG, "3"])
    assert entries == ["7", MIG]
    inherited = {"CUDA_VISIBLE_DEVICES": f"7,{MIG},3", "HOME": "/home"}
    assert devices.environment(inherited, MIG) == {"CUDA_VISIBLE_DEVICES": MIG, "HOME": "/home"}


def test_more_workers_than_gpus_are_refused():
    with pytest.raises(ValueError, match=r"--workers 3: this process sees 2 GPUs \(4,6\): at most one worker on each"):
        devices.one_each(3, ["4", "6"])
    with pytest.raises(ValueError, match="sees 0 GPUs: at most"):
        devices.one_each(1, [])


def test_a_gpu_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES=0,0: a device is there twice"):
        devices.one_each(1, ["0", "0"])


@given(st.sets(st.integers(0, 200), min_size=1), st.integers(1, 64))
def test_processors_are_shared_evenly_and_none_twice(cores, workers):
    cores = sorted(cores)
    if workers > len(cores):
        with pytest.raises(ValueError, match=f"--workers {workers}: this process may run on {len(cores)} processors"):
            devices.cores_each(workers, cores)
        return
    shares = devices.cores_each(workers, cores)
    given_out = [core for one in shares for core in one]
    assert len(shares) == workers and {len(one) for one in shares} == {len(cores) // workers}
    assert len(set(given_out)) == len(given_out) and set(given_out) <= set(cores)


def test_gpus_are_given_to_the_workers_that_are_started_here(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,3")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    places = preparing.places(Plan("cuda", 4, {}, ()), Shard(2, 2).numbers(2))
    assert {number: one.environment["CUDA_VISIBLE_DEVICES"] for number, one in places.items()} == {3: "6", 4: "3"}
    with pytest.raises(ValueError, match="--workers 3: this process sees 2 GPUs"):
        preparing.places(Plan("cuda", 3, {}, ()), Shard().numbers(3))


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1 /2"])
def test_a_shard_is_one_of_its_number(text):
    with pytest.raises(ValueError, match="expected K/N with K from 1 to N"):
        Shard.parse(text)
    assert Shard.parse("3/16") == Shard(3, 16)
