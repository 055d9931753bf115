"""Before a sweep: its plan, what each worker sees of the machine, and its folder. What is wrong is said here, before
any worker is started and anything is written.
"""

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kvgpt import journal
from kvgpt.measure import child
from kvgpt.measure.sweep import devices, gathering, plan
from kvgpt.measure.sweep.conducting import Place, with_own
from kvgpt.measure.sweep.ledger import Ledger
from kvgpt.measure.sweep.plan import Plan

SHOWN = 8  # lines of what pytest said, where it refused


@dataclass(frozen=True)
class Shard:
    """The ``part``-th of ``parts`` places at which a sweep is started, from 1; on one machine the only one."""

    part: int = 1
    parts: int = 1

    @staticmethod
    def parse(text: str) -> "Shard":
        """``K/N``; ValueError where it is none."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
        if not 1 <= shard.part <= shard.parts:
            raise ValueError(f"--shard {text!r}: expected K/N with K from 1 to N, such as 3/16")
        return shard

    def numbers(self, workers: int) -> range:
        """The numbers of the ``workers`` that are started here."""
        return range((self.part - 1) * workers + 1, self.part * workers + 1)


def folder(out: Path) -> Path:
    """Where the sweep that writes ``out`` keeps its ledger, results and logs."""
    return out.with_name(f"{out.name}.sweep")


def make_plan(arguments: Sequence[str], workers: int) -> Plan:
    """What pytest collects with these arguments, shared among workers; ValueError with its words where it refuses."""
    plan.share([], workers)
    said: list[str] = []
    with TemporaryDirectory() as made:
        path, log = Path(made) / "plan.json", Path(made) / "log"
        own = ["-p", "kvgpt.measure.sweep.planning", f"--kvgpt-plan={path}", f"--kvgpt-workers={workers}"]
        words = [sys.executable, "-m", "pytest", *with_own(arguments, ["--collect-only", "--quiet", "--quiet", *own])]
        with log.open("wb") as file:
            (code,) = child.run(child.Command(words, Path.cwd(), file, said.append))
        if code:
            shown = "\n  ".join([line for line in said if line.strip()][-SHOWN:])
            raise ValueError(f"pytest takes no such arguments, or collects nothing, exit code {code}:\n  {shown}")
        if not path.exists():
            raise ValueError("no benchmark is among what pytest collects with these arguments: nothing to measure")
        return plan.read(path)


def places(made: Plan, numbers: Sequence[int]) -> dict[int, Place]:
    """What each of the workers started here sees; ValueError where the machine has too little for one each."""
    if made.device == "cuda":
        import torch  # noqa: PLC0415 - a sweep over processors needs none here

        entries = devices.visible(os.environ.get(devices.VISIBLE), torch.cuda.device_count())
        own = devices.one_each(len(numbers), entries)
        environments = [devices.environment(os.environ, entry) for entry in own]
        return {number: Place(one) for number, one in zip(numbers, environments, strict=True)}
    cores = devices.own_cores()
    if cores is None:
        return {number: Place() for number in numbers}
    shares = devices.cores_each(len(numbers), cores)
    return {number: Place(cores=tuple(one)) for number, one in zip(numbers, shares, strict=True)}


@contextmanager
def opened(made: Plan, out: Path, shard: Shard, resume: bool) -> Iterator[Ledger]:
    """The ledger of a sweep, with its plan: of a new one, or of one to go on with or to join.

    ValueError where it is another's, where it holds what ``out`` does not, or where it is at work already.
    """
    ledger = Ledger(folder(out))
    joined = resume or shard.parts > 1
    if ledger.folder.exists() and not joined:
        with _locked(ledger, shard):
            _check_ended(ledger, out)
            shutil.rmtree(ledger.folder)
    journal.check_ended(out)
    ledger.folder.mkdir(parents=True, exist_ok=True)
    with _locked(ledger, shard):
        ledger.begin(made)
        _check_same(plan.read(ledger.plan), made, ledger)
        yield ledger


@contextmanager
def _locked(ledger: Ledger, shard: Shard) -> Iterator[None]:
    """Two conductors of the same workers would each start them."""
    with (ledger.folder / f"lock{shard.part}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{ledger.folder}: this sweep is at work: wait for its end, or name another --out"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield


def _check_ended(ledger: Ledger, out: Path) -> None:
    if not ledger.plan.exists():
        return
    held = gathering.documents(plan.read(ledger.plan), ledger).values()
    lacking = journal.lacks(out, [entry for document in held for entry in document["benchmarks"]])
    if lacking:
        raise ValueError(
            f"{ledger.folder}: {out.name} lacks {len(lacking)} cases that this sweep holds: "
            "go on with --resume, or delete it"
        )


def _check_same(before: Plan, now: Plan, ledger: Ledger) -> None:
    was, is_now = ({"workers": one.workers, "settings": one.settings} for one in (before, now))
    differ = journal.differences(was, is_now)
    if before.groups != now.groups and not differ:
        differ = [f"it has {len(before.cases)} cases in {len(before.groups)} comparisons, these {len(now.cases)}"]
    if differ:
        raise ValueError(f"{ledger.folder}: of another sweep: {'; '.join(differ)}: repeat its arguments, or delete it")
