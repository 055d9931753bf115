"""The tests are tested: what is broken on purpose is caught, by the promise that is named, three times of three."""

from pathlib import Path

import broken_caches
import broken_evaluators
import broken_models
import broken_quantisers
import broken_samplers
import broken_windows
import pytest
from bugs import BUGS
from hypothesis import settings

from kvgpt.conformance import PROMISES, Broken, tolerances

HOMES = (broken_caches, broken_evaluators, broken_models, broken_quantisers, broken_samplers, broken_windows)
CI = settings.get_profile("ci").max_examples


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.promise}-{bug.name}")
def test_a_planted_bug_is_caught_by_its_promise(bug, seed):
    promise = PROMISES[bug.promise]
    assert promise.needs <= bug.subject.abilities, f"not asked for: {promise.needs - bug.subject.abilities}"
    with pytest.raises(Broken) as caught:
        promise(bug.subject, CI, seed=seed, shrink=False)
    assert isinstance(caught.value.__cause__, AssertionError), "it crashed, which is no verdict"


def test_there_are_at_least_45_and_each_follows_a_real_one():
    names = {bug.name for bug in BUGS}
    assert len(names) >= 45
    assert all(bug.after for bug in BUGS)
    page = Path(__file__).parents[2] / "docs" / "testing.md"
    assert f"`tests/meta` holds {len(names)} caches, models, samplers, engines and evaluators" in page.read_text()


def test_no_promise_is_vacuous():
    caught = {bug.promise for bug in BUGS}
    assert set(PROMISES) - caught == set(), "promises that catch no planted bug"


def test_every_tolerance_names_a_bug_that_is_planted():
    planted = {bug.name for bug in BUGS}
    assert {line.bug for line in tolerances.TABLE.values()} <= planted
    assert all(hasattr(home, "planted") for home in HOMES)
