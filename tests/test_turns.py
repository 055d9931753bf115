"""Two processes in turns: one works at a time, on the same case, and each goes on alone where the other ends."""

import json
import os
import socket
import sys
import threading
from itertools import pairwise
from types import SimpleNamespace

import pytest
from fake_clock import FakeClock
from standin import BENCH, CONFTEST, INI

from kvgpt.measure import child
from kvgpt.measure.turns import CHANNEL, LONGEST, Alone, Turns, joined


class Worker(threading.Thread):
    """Rounds of its cases, each as long as ``cost`` says; what it did goes to a log that both write."""

    def __init__(self, name, channel, log, cases, cost, first):
        super().__init__(daemon=True)
        self.name, self.log, self.cases, self.cost = name, log, cases, cost
        self.clock = FakeClock()
        self.turns = Turns(channel, first, self.clock)

    def run(self):
        items = [SimpleNamespace(nodeid=case) for case in self.cases]
        self.turns.pytest_collection_finish(SimpleNamespace(items=items))
        for item in items:
            self.turns.pytest_runtest_setup(item)
            self.clock.advance(1.0)  # whatever a case needs before its rounds
            done, wants, can = 0, *self.cases[item.nodeid]
            while True:
                self.turns.rest()
                self.log.append((self.name, item.nodeid))
                self.clock.advance(self.cost)
                done += 1
                if not self.turns.again(done < wants, done < can):
                    break
        self.turns.pytest_unconfigure()


def work(base, head, cost=LONGEST):
    log = []
    workers = [
        Worker(name, end, log, cases, cost, name == "base")
        for name, cases, end in zip(("base", "head"), (base, head), socket.socketpair(), strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=20)
        assert not worker.is_alive(), f"{worker.name} waits for ever"
    return log


def test_rounds_alternate_within_each_case_and_cases_stay_together():
    log = work({"a": (3, 9), "b": (2, 9)}, {"a": (3, 9), "b": (2, 9)})
    of_a = [name for name, case in log if case == "a"]
    assert all(one != next_one for one, next_one in pairwise(of_a))
    assert log.index(("base", "b")) > len(of_a) - 2, "b begins when a has ended"
    assert {name: sum(one == (name, "a") for one in log) for name in ("base", "head")}["head"] >= 3


def test_short_rounds_share_a_turn():
    log = work({"a": (20, 90)}, {"a": (20, 90)}, cost=LONGEST / 3.99)
    names = "".join(name[0] for name, _ in log)
    assert names.startswith("bbbbhhhhbbbbhhhh"), "once the second has come to its rounds, too"


def test_who_has_enough_goes_on_while_the_other_wants_more_and_can_wait_without_rounds():
    both = work({"a": (2, 99)}, {"a": (8, 99)})
    assert sum(name == "base" for name, _ in both) >= 8
    waits = work({"a": (2, 2)}, {"a": (8, 99)})
    assert sum(name == "base" for name, _ in waits) == 2 and sum(name == "head" for name, _ in waits) == 8


def test_what_only_one_has_is_measured_without_the_other():
    log = work({"gone": (3, 3), "a": (3, 9)}, {"a": (3, 9), "new": (3, 3)})
    new = log.index(("head", "new"))
    assert log[:3] == [("base", "gone")] * 3 and log[new : new + 3] == [("head", "new")] * 3
    shared = [name for name, case in log if case == "a"]
    assert shared[:6] == ["base", "head"] * 3


def test_waiting_is_told_from_working_and_the_others_time_is_known():
    mine, other = socket.socketpair()
    clock = FakeClock()
    turns = Turns(mine, True, clock)
    lines = other.makefile("rw")
    lines.write('["a"]\n')
    lines.flush()
    turns.pytest_collection_finish(SimpleNamespace(items=[SimpleNamespace(nodeid="a")]))
    turns.pytest_runtest_setup(SimpleNamespace(nodeid="a"))
    assert turns.others_own() == 0 and turns.waited == 0
    lines.write('{"case": "a", "wanted": false, "own": 2.5}\n')
    lines.flush()
    clock.advance(LONGEST)
    clock.cost = 3.0
    turns.rest()
    assert turns.others_own() == 2.5 and turns.waited > 0
    assert [lines.readline(), lines.readline()][1].startswith('{"case": "a", "wanted": true, "own": ')
    assert not turns.again(wanted=False, possible=True)
    lines.close()
    other.close()
    clock.advance(LONGEST)
    turns.rest()
    assert turns.again(wanted=True, possible=True) and not turns.again(wanted=False, possible=True)
    turns.pytest_unconfigure()


def test_who_ends_says_what_time_it_had():
    mine, other = socket.socketpair()
    turns = Turns(mine, False, FakeClock())
    with other.makefile("r") as lines:
        turns.pytest_unconfigure()
        said = json.loads(lines.readline())
        assert said["wanted"] is False and 0 < said["own"] <= sum(os.times()[:4]) and lines.readline() == ""
    other.close()


def test_alone_there_is_nothing_to_wait_for():
    alone = Alone()
    alone.rest()
    assert alone.again(wanted=True, possible=False) and not alone.again(wanted=False, possible=True)
    assert alone.waited == alone.others_own() == 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_on_a_gpu_the_second_process_waits_for_the_end_of_the_first(tmp_path, monkeypatch, device):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    commands, said = [], []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file, text in (("conftest.py", CONFTEST), ("pytest.ini", INI), ("bench_it.py", BENCH)):
            (tmp_path / name / file).write_text(text + ("\nprint('reached')\n" if file == "bench_it.py" else ""))
        (tmp_path / name / "device").write_text("a CPU")
        words = [sys.executable, "-m", "pytest", "-s", "-k", "8-v1", f"--kvgpt-device={device}", "--benchmark-json=o"]
        log = (tmp_path / f"{name}.log").open("wb")
        watch = lambda line, name=name: said.append((name, line))  # noqa: E731 - of this name
        commands.append(child.Command(words, tmp_path / name, log, watch, dict(os.environ)))
    assert child.run(*joined(*commands)) == [0, 0]
    for command in commands:
        command.log.close()
        assert CHANNEL not in (command.environment or {})
    ends = {
        name: max(at for at, (who, line) in enumerate(said) if who == name and "1 passed" in line)
        for name in ("one", "two")
    }
    reached = {
        name: min(at for at, (who, line) in enumerate(said) if who == name and "reached" in line) for name in ends
    }
    assert (ends["one"] < reached["two"]) == (device == "cuda")
