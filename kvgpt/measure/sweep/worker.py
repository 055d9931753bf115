"""A pytest plug-in, named with ``-p``: measures the groups of a sweep that it can claim, its own share first.

The first pass of a run claims as it goes, and so takes from others what they have not begun; later passes measure what
the run then has. Before each case it sees that no other has taken the group over.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from kvgpt import strict_json
from kvgpt.measure.sweep import plan
from kvgpt.measure.sweep.ledger import Heart, Ledger, Run


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.getgroup("kvgpt").addoption
    add("--kvgpt-sweep", metavar="DIR", type=Path, help="the folder of a sweep, whose cases this process shares")
    add("--kvgpt-run", metavar="NAME", type=Run.parse, help="as which run, such as worker1.run1")
    add("--kvgpt-cores", metavar="LIST", help="the processors to stay on, such as 0,1")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before anything imports torch, which takes as many threads as there are processors to run on."""
    cores = early_config.known_args_namespace.kvgpt_cores
    if cores:
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])


def pytest_configure(config: pytest.Config) -> None:
    ledger, run = Ledger(config.getoption("--kvgpt-sweep")), config.getoption("--kvgpt-run")
    config.pluginmanager.register(Worker(config, ledger, run), "kvgpt-worker")


class Worker:
    """One process of a run. The parent of passes has it too, collects nothing, and leaves the measuring to them."""

    def __init__(self, config: pytest.Config, ledger: Ledger, run: Run) -> None:
        self.config, self.ledger, self.run = config, ledger, run
        self.plan = plan.read(ledger.plan)
        self.number = {case: number for number, one in enumerate(self.plan.groups) for case in one.cases}
        self.items: defaultdict[int, list[pytest.Item]] = defaultdict(list)  # still to be measured, by group
        self.collected = False
        self.heart = Heart(ledger.file(run, "beat"))
        self.heart.start()
        config.add_cleanup(self.heart.stop)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """All that was collected may become this worker's; what is its own from the start is shown as its cases."""
        self.collected = True
        unplanned = [item.nodeid for item in session.items if item.nodeid not in self.number]
        if unplanned:
            raise pytest.UsageError(f"{len(unplanned)} cases, such as {unplanned[0]}, are not in {self.ledger.plan}")
        for item in session.items:
            self.items[self.number[item.nodeid]].append(item)
        expected = self._held() or self.plan.shares[self.run.worker - 1]
        session.items[:] = [item for number in expected for item in self.items[number]]
        if self.config.option.benchmark_json is not None and not self.config.option.collectonly:
            strict_json.write(self.ledger.file(self.run, "opening.json"), self._opening())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed or self.config.option.collectonly or not self.collected:
            return None
        for item, following in pairwise(chain(self._claimed(), [None])):
            if item is None:
                break
            if self.ledger.holder(self.number[item.nodeid]) != self.run:
                raise session.Interrupted(f"{self.run} was taken for dead: others have its groups")
            self.heart.case = item.nodeid
            self.heart.say()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            stopped = session.shouldfail or session.shouldstop
            if stopped:
                raise session.Interrupted(str(stopped))
        self.heart.case = ""
        self.ledger.file(self.run, "closed").touch()
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Beside the cases, those that were to be measured here: not all that could have been."""
        own = output_json.get("kvgpt", {})
        own["cases"] = [case for case in own.get("cases", ()) if self.ledger.holder(self.number[case]) == self.run]

    def _claimed(self) -> Iterator[pytest.Item]:
        """The cases of one group after another, claimed when the last case of the one before is about to begin."""
        for number in self._held():
            yield from self.items[number]
        if self.ledger.file(self.run, "closed").exists():
            return
        own, more = self.plan.shares[self.run.worker - 1], True
        while more:
            more = False
            for number in self.plan.offered(self.run.worker):
                if number in self.items and self.ledger.take(number, self.plan.groups[number], self.run):
                    more = True
                    if number not in own:
                        self._tell("expect", number)
                    yield from self.items[number]
                elif number in own and self.ledger.holder(number) != self.run:
                    self._tell("give_up", number)

    def _held(self) -> list[int]:
        """What this run has already: of an earlier pass, or from before it was interrupted."""
        return [number for number in self.items if self.ledger.holder(number) == self.run]

    def _tell(self, what: str, number: int) -> None:
        progress = self.config.pluginmanager.get_plugin("kvgpt-progress")
        if progress is not None:
            getattr(progress, what)(self.items[number])

    def _opening(self) -> dict[str, Any]:
        """The results file of this run as it begins, without cases: what its journal lacks, should it be cut short."""
        config, hook = self.config, self.config.hook
        session: Any = config.pluginmanager.get_plugin("pytest-benchmark")
        commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
        hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
        about = {"machine_info": session.get_machine_info(), "commit_info": commit_info}
        made = hook.pytest_benchmark_generate_json(config=config, benchmarks=[], include_data=True, **about)
        hook.pytest_benchmark_update_json(config=config, benchmarks=[], output_json=made)
        return {**made, "benchmarks": []}
