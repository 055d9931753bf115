"""Two commits measured in turns on one machine: A B B A, each pass a fresh process among the files of its commit.

The two processes of a pass run side by side and alternate by the moment, see :mod:`kvgpt.measure.turns`; so what drifts
meanwhile (temperature, clocks, neighbours) weighs on both sides alike. Measured one after the other, they would differ
by it, as passes of commits do that do not know how to take turns.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from kvgpt.measure import child, requirements, side
from kvgpt.measure.progress import LINE, span
from kvgpt.measure.repository import Repository
from kvgpt.measure.side import Run, Side

SIDES = ("base", "head")
TAKEN = ("--benchmark-json", "--kvgpt-repeats", "--kvgpt-resume")  # options of pytest that are set here
Say = Callable[[str], object]


def measure(
    base_ref: str,
    arguments: Sequence[str],
    passes: int,
    folder: Path,
    say: Say = print,
    run: Run = child.run,
    enough: Callable[[Path, Path], bool] = lambda base, head: True,
    most: int = 1,
) -> tuple[Path, Path]:
    """Measure ``base_ref`` and HEAD of the repository around the working directory; the results files of both.

    ``passes`` of each, and as many again until the results files are ``enough``, but at ``most`` so many times.
    ``arguments`` go to pytest. ``folder`` keeps each pass's results, journal and log beside them. ValueError says why
    the two cannot be compared, or which pass failed; then, and after Ctrl-C, no process and no worktree is left.
    """
    _check(arguments, passes)
    repository = Repository.around(Path.cwd())
    commits = {"base": repository.commit(base_ref), "head": repository.commit("HEAD")}
    _check_comparable(repository, commits)
    room = _room(folder)
    say("; ".join(f"{name} is {commit[:12]}" for name, commit in commits.items()))
    with repository.worktrees(commits) as trees:
        sides = {name: Side(name, tree, tuple(arguments), room, run) for name, tree in trees.items()}
        for one in sides.values():
            one.prepare()
        at_once = all(one.takes_turns for one in sides.values())
        for look in range(1, most + 1):
            _in_turns(sides, turns(look * passes, done=(look - 1) * passes, at_once=at_once), say)
            files = sides["base"].fold(look * passes), sides["head"].fold(look * passes)
            if enough(*files):
                break
    return files


def turns(passes: int, done: int = 0, at_once: bool = False) -> list[tuple[int, tuple[str, ...]]]:
    """(pass, sides) in their order: A B, B A, A B, and so on, ``at_once`` or each side's alone; without ``done``."""
    order: list[tuple[int, tuple[str, ...]]] = [
        (number, SIDES if number % 2 else SIDES[::-1]) for number in range(done + 1, passes + 1)
    ]
    return order if at_once else [(number, (name,)) for number, names in order for name in names]


def _in_turns(sides: Mapping[str, Side], order: Sequence[tuple[int, tuple[str, ...]]], say: Say) -> None:
    seconds, last = list[float](), order[-1][0]
    for number, names in order:
        begun = time.monotonic()
        watches = [partial(_relay, f"{name} {number}/{last}", say) for name in names]
        side.measure([sides[name] for name in names], number, watches)
        seconds.append(time.monotonic() - begun)
        waiting = len(order) - len(seconds)
        took = f"{' and '.join(names)} {number}/{last} took {span(seconds[-1])}"
        say(took + (f" | {span(waiting * mean(seconds))} left" if waiting else ""))


def _relay(title: str, say: Say, line: str) -> None:
    """Of what a pass prints, its cases."""
    if re.match(LINE, line):
        say(f"{title} {line}")


def _check(arguments: Iterable[str], passes: int) -> None:
    if passes < 1:
        raise ValueError(f"passes={passes}: at least 1 of each commit")
    for argument in arguments:
        if argument.partition("=")[0] in TAKEN:
            raise ValueError(f"{argument}: it is set for each pass: leave it out; --passes says how many there are")


def _check_comparable(repository: Repository, commits: Mapping[str, str]) -> None:
    changed = repository.uncommitted()
    if changed:
        raise ValueError(f"{repository.top}: commit or stash: {len(changed)} files would not be measured as they are")
    differ = requirements.differences(*(repository.text(commits[side], "pyproject.toml") for side in SIDES))
    if differ:
        raise ValueError(
            f"{commits['base'][:12]} and HEAD do not require the same of {', '.join(differ)}, and this interpreter has "
            "one of the two: measure each in an environment of its own with --kvgpt-repeats, and compare the two files"
        )


def _room(folder: Path) -> Path:
    """An empty folder for the passes."""
    room = folder.absolute()
    if room.exists() and any(room.iterdir()):
        raise ValueError(f"{room}: not empty: what is there may be another comparison's: name another folder")
    room.mkdir(parents=True, exist_ok=True)
    return room
