"""Ranks that measure together: all run the same cases and as many rounds as rank 0, which alone writes.

A pytest plug-in, in the place of :mod:`kvgpt.measure.turns`. A case that raises ends the run: the other ranks stand in
the middle of it, and no later case could be theirs too.
"""

import hashlib
import os
import sys
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from kvgpt import parallel
from kvgpt.measure.turns import NAME, Alone
from kvgpt.options import SETTINGS
from kvgpt.parallel import Lost, Ranks

RANKS = pytest.StashKey[Ranks]()
QUIETED = ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin")  # what writes for the user to see


class Lockstep(Alone):
    """What a case asks between its rounds, answered by rank 0."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def again(self, wanted: bool, possible: bool) -> bool:
        return bool(self.ranks.agreed(wanted))

    def agreed(self, number: int) -> int:
        return self.ranks.agreed(number)

    def others_own(self) -> float:
        """Processor time in s of the other ranks on this machine: no stranger's, though not this process's."""
        own = sum(os.times()[:4])
        return sum(self.ranks.of_each(own)[self.ranks.neighbours]) - own

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """The cases that rank 0 has, once it has left out what an earlier session measured."""
        names = [hashlib.sha256(item.nodeid.encode()).digest()[:7] for item in items]
        here = {int.from_bytes(name): item for name, item in zip(names, items, strict=True)}
        try:
            asked = [self.ranks.agreed(number) for number in self._first(list(here))]
        except Lost as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.TESTS_FAILED)
        missing = [number for number in asked if number not in here]
        if missing:
            raise pytest.UsageError(f"{self.ranks} has not the cases that rank 0 has: give all ranks the same options")
        items[:] = [here[number] for number in asked]

    def _first(self, numbers: list[int]) -> list[int]:
        """As many numbers as rank 0 has."""
        count = self.ranks.agreed(len(numbers))
        return (numbers + [0] * count)[:count]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and call.excinfo is not None and not item.session.shouldfail:
            error = call.excinfo.value
            item.session.shouldfail = (
                str(error)
                if isinstance(error, Lost)
                else f"{self.ranks}: {item.nodeid}: {type(error).__name__}: {error}: this ends all ranks"
            )
            if self.ranks.rank:
                sys.stderr.write(f"kvgpt: {item.session.shouldfail}\n")
        return report

    def pytest_unconfigure(self) -> None:
        self.ranks.leave()


def register(config: pytest.Config) -> None:
    """Join the ranks that ``torchrun`` started, if it did: the run's settings then say how many there are.

    A usage error where they do not come together, or where a run cannot be shared out.
    """
    chosen = config.stash[SETTINGS]
    try:
        config.stash[RANKS] = ranks = parallel.join(chosen.device, chosen.rank_seconds)
    except (ValueError, Lost) as error:
        raise pytest.UsageError(str(error)) from error
    if ranks.count == 1:
        return
    if chosen.repeats > 1:
        raise pytest.UsageError(
            "--kvgpt-repeats starts processes of its own, and torchrun does: start torchrun as many times, each with a "
            "results file of its own"
        )
    config.stash[SETTINGS] = replace(chosen, tensor_parallel=ranks.count)
    config.pluginmanager.register(Lockstep(ranks), NAME)
    if ranks.rank:
        _keep_quiet(config)


def _keep_quiet(config: pytest.Config) -> None:
    """Write nothing but errors: rank 0 says and records what there is."""
    config.stash[SETTINGS] = replace(config.stash[SETTINGS], resume=False)
    config.option.benchmark_json = config.option.benchmark_save = config.option.benchmark_autosave = None
    session: Any = config.pluginmanager.get_plugin("pytest-benchmark")
    session.json = session.save = session.autosave = None
    for name in QUIETED:
        if config.pluginmanager.hasplugin(name):
            config.pluginmanager.unregister(name=name)
