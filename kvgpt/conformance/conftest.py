"""``pytest --pyargs kvgpt.conformance``: which caches are held to which promises, and what is said of it."""

import inspect
from typing import TYPE_CHECKING

import pytest

from kvgpt.options import SETTINGS

if TYPE_CHECKING:
    from kvgpt.conformance import Subject

SUBJECTS = pytest.StashKey[list["Subject"]]()


def pytest_configure(config: pytest.Config) -> None:
    """Without a cache, or with one that cannot be had, nothing is run: a usage error, never a skip."""
    chosen = config.stash[SETTINGS]
    caches = [*(chosen.variants if config.getoption("--kvgpt-variants") else ()), *chosen.caches]
    if not caches:
        raise pytest.UsageError(
            "no cache to check: name one with --kvgpt-cache package.module:Class, or a variant with --kvgpt-variants"
        )
    from kvgpt.conformance import DTYPES, Subject

    try:
        subjects = [Subject(cache, dtype, chosen.device) for cache in caches for dtype in DTYPES]
        for subject in subjects:
            assert subject.abilities is not None
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[SUBJECTS] = subjects


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from kvgpt.conformance import asked_of

    cases = [
        pytest.param(promise, subject, id=f"{subject.name}-{subject.dtype}-{promise.name}")
        for subject in metafunc.config.stash[SUBJECTS]
        for promise in asked_of(subject)[0]
    ]
    metafunc.parametrize(("promise", "subject"), cases)


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [
        f"kvgpt: imported {subject.name} from {inspect.getsourcefile(subject.recipe.cache_class)}"
        for subject in config.stash[SUBJECTS]
        if subject.dtype == "float64" and subject.variant is None
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    from kvgpt.conformance import asked_of
    from kvgpt.conformance.kit import remarks

    for subject in config.stash[SUBJECTS]:
        if subject.dtype == "float64":
            for name, why in asked_of(subject)[1].items():
                terminalreporter.write_line(f"{subject.name} was not asked for {name}: {why}")
            for remark in remarks(subject):
                terminalreporter.write_line(f"{subject.name}: {remark}")
