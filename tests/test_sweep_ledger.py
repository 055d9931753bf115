"""The ledger of a sweep: one holder a group, who is taken for dead, and what then becomes of what he had."""

import json
import threading

import pytest
from fake_clock import FakeClock

from kvgpt import journal
from kvgpt.measure.sweep.gathering import documents, gather
from kvgpt.measure.sweep.ledger import BEAT, SILENCE, Heart, Ledger, Run
from kvgpt.measure.sweep.plan import Group, Plan

A, B = Run(1, 1), Run(2, 1)
PLAN = Plan("cpu", 2, {}, (Group("p", ("p1", "p2")), Group("q", ("q1",))))
P, Q = PLAN.groups
OPENING = {"machine_info": {"node": "there"}, "commit_info": {}, "datetime": "now", "version": "5", "benchmarks": []}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def ledger(tmp_path, clock):
    made = Ledger(tmp_path / "sweep", clock)
    made.folder.mkdir()
    made.begin(PLAN)
    for run in (A, B):
        Heart(made.file(run, "beat")).say()
        made.file(run, "opening.json").write_text(json.dumps({**OPENING, "kvgpt": {"left_out": {str(run): []}}}))
    return made


def entry(name, value=1.0):
    return {"fullname": name, "name": name, "stats": {"data": [value]}, "extra_info": {}}


def measure(ledger, run, *names, value=1.0):
    """What is on disk of a run that has measured these and has not ended."""
    with journal.beside(ledger.file(run, "json")).open("w") as file:
        lines = [journal.header({}, {}, "0"), *(entry(name, value) for name in names)]
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def die(ledger, run):
    ledger.file(run, "died").write_text("killed")


def test_a_group_has_one_holder(ledger):
    assert ledger.holder(0) is None and ledger.is_free(0, P)
    assert ledger.take(0, P, A) and ledger.holder(0) == A
    assert not ledger.take(0, P, B) and ledger.holder(0) == A
    assert ledger.take(1, Q, B) and ledger.held(PLAN.groups) == [(P, A), (Q, B)]


def test_of_many_that_reach_for_a_group_at_once_one_has_it(ledger):
    together, took = threading.Barrier(16), []

    def reach(worker):
        own = Ledger(ledger.folder)
        together.wait()
        if own.take(0, P, Run(worker, 1)):
            took.append(worker)

    threads = [threading.Thread(target=reach, args=(worker,)) for worker in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 1 and ledger.holder(0) == Run(took[0], 1)


def test_what_a_dead_one_left_unfinished_is_free_and_what_it_finished_is_settled(ledger):
    ledger.take(0, P, A), ledger.take(1, Q, A)
    measure(ledger, A, "p1", "q1")
    assert not ledger.is_free(0, P) and not ledger.is_settled(1, Q), "it is alive"
    die(ledger, A)
    assert ledger.is_free(0, P) and not ledger.is_settled(0, P)
    assert not ledger.is_free(1, Q) and ledger.is_settled(1, Q)
    assert ledger.take(0, P, B) and not ledger.take(1, Q, B)
    assert ledger.holder(0) == B and ledger.holder(1) == A


def test_what_has_ended_is_settled_though_a_case_has_failed(ledger):
    ledger.take(0, P, A)
    measure(ledger, A, "p1")
    ledger.file(A, "ended").write_text("1")
    assert ledger.is_settled(0, P) and not ledger.is_free(0, P) and not ledger.is_complete(P, A)


def test_silence_is_measured_by_the_readers_own_clock(ledger, clock):
    ledger.file(A, "beat").write_text("0.000 long ago by its own clock")
    ledger.take(0, P, A)
    assert not ledger.is_free(0, P)
    clock.advance(SILENCE)
    assert not ledger.is_free(0, P), "as long as it may be silent"
    clock.advance(1.0)
    assert ledger.is_free(0, P) and Ledger(ledger.folder, clock).is_free(0, P) is False, "who comes new waits first"


def test_a_beat_is_a_sign_of_life_whatever_it_says(ledger, clock):
    ledger.take(0, P, A)
    for beat in ("5 x", "4 x", "4 y", ""):
        ledger.file(A, "beat").write_text(beat)
        assert not ledger.is_dead(A)
        clock.advance(SILENCE)
        assert not ledger.is_dead(A)
    clock.advance(1.0)
    assert ledger.is_dead(A) and SILENCE > 5 * BEAT


def test_who_has_ended_is_never_taken_for_dead(ledger, clock):
    ledger.file(A, "ended").touch()
    assert not ledger.is_dead(A)
    clock.advance(10 * SILENCE)
    assert not ledger.is_dead(A)


def test_what_counts_is_what_the_last_holder_measured(ledger):
    ledger.take(0, P, A), ledger.take(1, Q, A)
    measure(ledger, A, "p1", "q1", value=1.0)
    die(ledger, A)
    ledger.take(0, P, B)
    measure(ledger, B, "p1", "p2", value=2.0)
    measure(ledger, A, "p1", "p2", "q1", value=1.0)  # it was not dead, and went on
    found = documents(PLAN, ledger)
    data = {run: {one["fullname"]: one["stats"]["data"] for one in made["benchmarks"]} for run, made in found.items()}
    assert data == {A: {"q1": [1.0]}, B: {"p1": [2.0], "p2": [2.0]}}
    assert [made["kvgpt"]["cases"] for made in found.values()] == [["q1"], ["p1", "p2"]]
    assert found[A]["machine_info"] == OPENING["machine_info"] and str(A) in found[A]["kvgpt"]["left_out"]
    paths = gather(PLAN, ledger)
    assert [path.name for path in paths] == ["worker1.run1.held.json", "worker2.run1.held.json"]


def test_the_commit_is_the_one_that_a_run_began_with(ledger):
    ledger.take(0, P, A)
    ended = {**OPENING, "commit_info": {"dirty": True}, "benchmarks": [entry("p1"), entry("p2")]}
    ledger.file(A, "json").write_text(json.dumps(ended))
    assert documents(PLAN, ledger)[A]["commit_info"] == OPENING["commit_info"]


def test_a_results_file_counts_before_the_journal_unless_it_lacks_a_case(ledger):
    measure(ledger, A, "p1")
    ledger.file(A, "json").write_text(json.dumps({**OPENING, "benchmarks": [entry("p1")], "kvgpt": {"roof": {}}}))
    assert "roof" in ledger.document(A)["kvgpt"]
    measure(ledger, A, "p1", "p2")
    assert [one["fullname"] for one in ledger.document(A)["benchmarks"]] == ["p1", "p2"]


def test_what_is_measured_is_seen_as_it_grows(ledger):
    assert ledger.measured(A) == frozenset()
    measure(ledger, A, "p1")
    assert ledger.measured(A) == {"p1"}
    measure(ledger, A, "p1", "p2")
    assert ledger.measured(A) == {"p1", "p2"}


def test_the_results_of_all_are_one_workers_to_write(ledger):
    assert ledger.take_merge() and not ledger.take_merge()
    Heart(ledger.file(Run(1, 2), "beat")).say()
    assert ledger.take_merge(), "there is more to write since"


def test_a_second_plan_does_not_take_the_place_of_the_first(ledger):
    before = ledger.plan.read_text()
    ledger.begin(Plan("cuda", 3, {}, ()))
    assert ledger.plan.read_text() == before


def test_a_claim_that_is_none_is_named(ledger):
    ledger.take(0, P, A)
    (ledger.folder / "claims" / "0.1").write_text("whoever")
    with pytest.raises(ValueError, match=r"claims/0\.1: 'whoever': expected a run, such as worker1\.run1: delete it"):
        ledger.holder(0)
