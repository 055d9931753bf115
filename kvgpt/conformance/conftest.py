"""``pytest --pyargs kvgpt.conformance``: which caches are held to which promises, and what is said of it."""

from typing import TYPE_CHECKING

import pytest

from kvgpt.options import SETTINGS

if TYPE_CHECKING:
    from kvgpt.conformance import Subject

SUBJECTS = pytest.StashKey[list["Subject"]]()
WRONG = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Without a cache, or with one that cannot be had, nothing is run: a usage error, never a skip.

    It is raised once all is collected: under ``--pyargs`` this file is read so late that pytest would report an error
    of this file's collection.
    """
    chosen = config.stash[SETTINGS]
    caches = [*(chosen.variants if config.getoption("--kvgpt-variants") else ()), *chosen.caches]
    if not caches:
        config.stash[WRONG] = (
            "no cache to check: name one with --kvgpt-cache package.module:Class, or a variant with --kvgpt-variants"
        )
    from kvgpt.conformance import DTYPES, Subject

    config.stash[SUBJECTS] = subjects = []
    try:
        for subject in [Subject(cache, dtype, chosen.device) for cache in caches for dtype in DTYPES]:
            assert subject.abilities is not None
            subjects.append(subject)
    except ValueError as error:
        config.stash[WRONG] = str(error)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    if WRONG not in config.stash:
        return
    if not hasattr(config, "workerinput"):
        raise pytest.UsageError(config.stash[WRONG])
    items[:] = [Refused.from_parent(session, name="usage")]  # a worker of pytest-xdist can only fail


class Refused(pytest.Item):
    """Fails with what is wrong with the command."""

    def runtest(self) -> None:
        pytest.fail(self.config.stash[WRONG], pytrace=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from kvgpt.conformance import asked_of

    cases = [
        pytest.param(promise, subject, id=f"{subject.name}-{subject.dtype}-{promise.name}")
        for subject in metafunc.config.stash[SUBJECTS]
        for promise in asked_of(subject)[0]
    ]
    metafunc.parametrize(("promise", "subject"), cases)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """What was imported for this run, and from where: not in the header, which may be printed before."""
    from kvgpt import registry

    names = dict.fromkeys(subject.name for subject in config.stash[SUBJECTS] if subject.variant is None)
    return [f"kvgpt: {registry.imported(name)}" for name in names]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    from kvgpt.conformance import asked_of
    from kvgpt.conformance.kit import remarks

    for subject in config.stash[SUBJECTS]:
        if subject.dtype == "float64":
            for name, why in asked_of(subject)[1].items():
                terminalreporter.write_line(f"{subject.name} was not asked for {name}: {why}")
            for remark in remarks(subject):
                terminalreporter.write_line(f"{subject.name}: {remark}")
