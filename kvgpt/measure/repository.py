"""A git repository: its commits, what none of them holds yet, and commits laid out in folders for a while."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POINTERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")  # set in hooks: they hold for one folder only


@dataclass(frozen=True)
class Repository:
    """The repository whose files lie in the folder ``top``."""

    top: Path

    @classmethod
    def around(cls, folder: Path) -> "Repository":
        """The one that ``folder`` is in; ValueError where it is in none."""
        found = _git(folder, "rev-parse", "--show-toplevel")
        if found.returncode:
            raise ValueError(f"{folder}: no git repository ({_said(found)}): run this in a clone of what is compared")
        return cls(Path(found.stdout.removesuffix("\n")))

    def commit(self, ref: str) -> str:
        """The id of the commit that a branch, tag or id names."""
        if ref.startswith("-"):
            raise ValueError(f"{ref!r}: a commit's name does not begin with '-': name a branch, a tag or an id")
        found = _git(self.top, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        if found.returncode:
            raise ValueError(f"{ref!r}: no commit of {self.top} ({_said(found)}): name a branch, a tag or an id")
        return found.stdout.strip()

    def uncommitted(self) -> list[str]:
        """The files under version control that are not as the last commit has them, as ``git status`` lists them."""
        return self._must("status", "--porcelain", "--untracked-files=no").splitlines()

    def text(self, commit: str, name: str) -> str:
        """A file of a commit; empty where it has none of that name."""
        found = _git(self.top, "show", f"{commit}:{name}")
        return "" if found.returncode else found.stdout

    @contextmanager
    def worktrees(self, commits: Mapping[str, str]) -> Iterator[dict[str, Path]]:
        """A folder with the files of each commit, by the commit's name here; however this ends, they are removed."""
        folder = Path(tempfile.mkdtemp(prefix="kvgpt-")).resolve()
        trees = {name: folder / name for name in commits}
        try:
            for name, tree in trees.items():
                self._must("worktree", "add", "--quiet", "--detach", str(tree), commits[name])
            yield trees
        finally:
            for tree in trees.values():  # twice forced: one that was being added is locked
                _git(self.top, "worktree", "remove", "--force", "--force", str(tree))
            shutil.rmtree(folder, ignore_errors=True)

    def _must(self, *arguments: str) -> str:
        done = _git(self.top, *arguments)
        if done.returncode:
            raise ValueError(f"git {' '.join(arguments)}: {_said(done)}")
        return done.stdout


def without_pointers() -> dict[str, str]:
    """This process's environment, for one that works in another folder of files under version control."""
    return {name: value for name, value in os.environ.items() if name not in POINTERS}


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    git = shutil.which("git")
    if git is None:
        raise ValueError("git: not found on this machine: install it, or measure each commit by itself")
    return subprocess.run(  # noqa: S603 - no shell
        [git, *arguments],
        cwd=folder,
        env=without_pointers(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    return " ".join(done.stderr.split()) or f"exit code {done.returncode}"
