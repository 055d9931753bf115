"""The plan of a sweep: a partition of the cases, comparisons kept whole, as balanced as these allow."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.measure.sweep import plan as plans
from kvgpt.measure.sweep.plan import Plan, group, share
from kvgpt.measure.sweep.planning import comparison

KEYS = st.dictionaries(st.text("abc[]-=.", min_size=1, max_size=6), st.sampled_from("pqrstuvw"), min_size=1)
WORKERS = st.integers(1, 9)


def planned(keys, workers):
    return Plan("cpu", workers, {"model": "nano"}, group(keys))


def shares(made):
    """The names of the cases of each worker."""
    return [[case for number in one for case in made.groups[number].cases] for one in made.shares]


@given(KEYS, WORKERS)
def test_each_case_is_one_workers_and_all_of_a_comparison_are_the_same_ones(keys, workers):
    made = planned(keys, workers)
    assert sorted(case for one in shares(made) for case in one) == sorted(keys)
    assert len(made.shares) == workers
    of = {case: worker for worker, cases in enumerate(shares(made)) for case in cases}
    for one in keys:
        for other in keys:
            assert keys[one] != keys[other] or of[one] == of[other]


@given(KEYS, WORKERS)
def test_no_worker_has_more_than_the_largest_comparison_above_any_other(keys, workers):
    made = planned(keys, workers)
    loads = [len(cases) for cases in shares(made)]
    assert max(loads) - min(loads) <= max(len(one.cases) for one in made.groups)


@given(KEYS, WORKERS, st.randoms())
def test_the_plan_is_the_same_whatever_the_order_in_which_it_is_asked(keys, workers, random):
    shuffled = list(keys.items())
    random.shuffle(shuffled)
    assert planned(dict(shuffled), workers) == planned(keys, workers)


@given(KEYS, WORKERS)
def test_every_worker_is_offered_every_comparison_once_its_own_first(keys, workers):
    made = planned(keys, workers)
    for worker in range(1, workers + 1):
        offered = made.offered(worker)
        own = made.shares[worker - 1]
        assert sorted(offered) == list(range(len(made.groups))) and offered[: len(own)] == own


def test_who_comes_for_the_work_of_others_takes_what_they_come_to_last():
    made = planned({f"{key}{number}": key for key in "abcd" for number in range(2)}, 2)
    assert made.shares == ((0, 2), (1, 3))
    assert made.offered(1) == (0, 2, 3, 1) and made.offered(2) == (1, 3, 2, 0)


def test_the_largest_comparisons_begin():
    sizes = {"small": 1, "large": 7, "medium": 4}
    made = planned({f"{key}{number}": key for key, size in sizes.items() for number in range(size)}, 2)
    assert [one.key for one in made.groups] == ["large", "medium", "small"] and made.shares == ((0,), (1, 2))


@pytest.mark.parametrize("workers", [0, -1])
def test_without_a_worker_there_is_no_plan(workers):
    with pytest.raises(ValueError, match=f"{workers} workers: a sweep needs at least 1"):
        share([3], workers)


def test_a_plan_is_read_back_as_it_was_written(tmp_path):
    made = planned({"x": "a", "y": "a", "z": "b"}, 2)
    (tmp_path / "plan.json").write_text(made.text())
    assert plans.read(tmp_path / "plan.json") == made


@pytest.mark.parametrize("damage", [('"schema": 1', '"schema": 2'), ('"cases"', '"kases"'), ('"workers": 2', '"w": 2')])
def test_what_is_no_plan_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "plan.json"
    path.write_text(planned({"x": "a"}, 2).text().replace(*damage))
    with pytest.raises(ValueError, match=r"plan\.json: (schema 2|groups|workers=None)"):
        plans.read(path)


def item(nodeid, compared=(), **params):
    return SimpleNamespace(
        nodeid=nodeid, callspec=SimpleNamespace(params=params), module=SimpleNamespace(COMPARED=compared)
    )


def test_a_comparison_is_a_benchmark_and_a_workload_without_the_variant():
    cases = [
        item(f"b.py::bench[64-{variant}]", new_tokens=64, batch_size=1, variant=variant) for variant in ("v1", "v2")
    ]
    assert {comparison(one) for one in cases} == {"b.py::bench[batch_size=1-new_tokens=64]"}
    assert comparison(item("b.py::bench[32-v1]", new_tokens=32, batch_size=1, variant="v1")) not in map(
        comparison, cases
    )
    assert comparison(item("b.py::other[64-v1]", new_tokens=64, batch_size=1, variant="v1")) not in map(
        comparison, cases
    )
    assert comparison(SimpleNamespace(nodeid="b.py::bench_copy")) == "b.py::bench_copy"


def test_a_benchmark_names_what_else_is_compared():
    cases = [
        item("b.py::bench[x]", ("positions",), contexts=2, variant="v1", positions=one) for one in ("shift", "error")
    ]
    assert {comparison(one) for one in cases} == {"b.py::bench[contexts=2]"}
