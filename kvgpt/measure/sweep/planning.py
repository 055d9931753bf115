"""A pytest plug-in, named with ``-p``: writes which cases a sweep has and which belong together, and runs none.

What a sweep cannot do is refused here, before any worker is started.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from kvgpt.measure.sweep.plan import Plan, group
from kvgpt.options import SETTINGS

OWN = {  # options of pytest-benchmark and kvgpt that a sweep sets itself -> what to say instead
    "benchmark_json": "--benchmark-json: name the file with --out, before the arguments of pytest",
    "benchmark_save": "--benchmark-save: name a file with --out, before the arguments of pytest",
    "benchmark_autosave": "--benchmark-autosave: name a file with --out, before the arguments of pytest",
    "benchmark_disable": "--benchmark-disable: a sweep measures",
    "benchmark_skip": "--benchmark-skip: a sweep measures",
    "kvgpt_resume": "--kvgpt-resume: a sweep goes on with --resume, before the arguments of pytest",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kvgpt").addoption("--kvgpt-plan", metavar="FILE", help="where kvgpt sweep wants its plan")
    parser.getgroup("kvgpt").addoption("--kvgpt-workers", metavar="N", type=int, help="for how many workers")


def pytest_configure(config: pytest.Config) -> None:
    for name, refused in OWN.items():
        if config.getoption(name, None):
            raise pytest.UsageError(refused)
    if config.getoption("dist", "no") != "no":
        raise pytest.UsageError("-n: a sweep has workers of its own: --workers, before the arguments of pytest")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """After all others have left out what cannot run."""
    cases = [item for item in session.items if "benchmark" in getattr(item, "fixturenames", ())]
    if session.testsfailed or not cases:
        return
    settings = session.config.stash[SETTINGS]
    said = {name: value for name, value in asdict(settings).items() if name != "resume"}
    workers = session.config.getoption("--kvgpt-workers")
    plan = Plan(settings.device, workers, said, group({item.nodeid: comparison(item) for item in cases}))
    Path(session.config.getoption("--kvgpt-plan")).write_text(plan.text(), "utf-8")


def comparison(item: pytest.Item) -> str:
    """Of a case, the benchmark and the workload without the variant, which those that it is compared with share.

    A benchmark may name further arguments along which its cases are compared, as ``COMPARED``.
    """
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    compared = {"variant", *getattr(getattr(item, "module", None), "COMPARED", ())}
    workload = [f"{name}={value}" for name, value in sorted(parameters.items()) if name not in compared]
    return item.nodeid.partition("[")[0] + (f"[{'-'.join(workload)}]" if workload else "")
