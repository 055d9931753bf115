"""Which cases there are, in which order, and which of them cannot be measured here.

A benchmark is one file. The axes of the grid that its cases name as arguments are filled in here, the variant last. It
may add axes in a ``pytest_generate_tests`` of its own, and name values of its own: ``LENGTHS``, in place of the grid's,
of which a run that asks for lengths takes those that it asked for, or its longest; ``ALSO``, variants beside the
grid's; ``PEERS = True``, that other systems can be measured by it; ``BEYOND``, that it picks its variants itself;
``COMPARED``, arguments along which its cases are compared beside the variant, so that a sweep keeps them together;
``ALONE``, why it is not measured where ranks share a model out; ``left_out(item, chosen, model)``, why a case is not
measured here, or None.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvgpt import peers, registry
from kvgpt.measure import clocks, device, fixtures, lockstep, passes, subject
from kvgpt.measure.fixtures import ANSWERS, FLOORS, SAID
from kvgpt.model import GPT
from kvgpt.options import SETTINGS, Settings
from kvgpt.recipes import Variant

HERE = Path(__file__).parent
# Argument of a case -> settings.
AXES = {"batch_size": "batch_sizes", "new_tokens": "lengths", "context": "lengths"}
REASONS = pytest.StashKey[dict[str, list[str]]]()


@pytest.hookimpl(trylast=True)  # once the settings are there
def pytest_configure(config: pytest.Config) -> None:
    config.stash[REASONS] = {}
    for option, pattern in (("python_files", "bench_*.py"), ("python_functions", "bench_*")):
        config.addinivalue_line(option, pattern)  # where they are installed, no pytest.ini says so
    config.pluginmanager.register(fixtures, "kvgpt.fixtures")
    lockstep.register(config)
    passes.register(config)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Variants last, so that those of one workload are measured next to each other."""
    chosen = metafunc.config.stash[SETTINGS]
    for argument, axis in AXES.items():
        if argument in metafunc.fixturenames:
            values = getattr(chosen, axis)
            own = getattr(metafunc.module, axis.upper(), None)
            if own and metafunc.config.getoption("--kvgpt-lengths"):
                values = [value for value in own if value in values] or [max(values)]
            elif own:
                values = own
            metafunc.parametrize(argument, values, ids=[f"{argument}={value}" for value in values])
    if "variant" in metafunc.fixturenames and not hasattr(metafunc.module, "BEYOND"):
        asked = metafunc.config.getoption("--kvgpt-variants") or chosen.caches
        also = [] if asked else getattr(metafunc.module, "ALSO", ())
        others = peers.PEERS if chosen.peers and getattr(metafunc.module, "PEERS", False) else ()
        metafunc.parametrize("variant", list(dict.fromkeys([*chosen.variants, *also, *chosen.caches, *others])))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cases that cannot run here are deselected, and the summary says why."""
    chosen, why = config.stash[SETTINGS], config.stash[REASONS]
    cases = [item for item in items if item.path.is_relative_to(HERE)]
    kept, dropped = [item for item in items if item not in cases], list[pytest.Item]()
    for item in cases:
        item.add_marker(pytest.mark.benchmark(timer=clocks.device_clock(chosen.device)))
        reason = _impossible(item, chosen, subject.model(config))
        (dropped if reason else kept).append(item)
        if reason:
            why.setdefault(reason, []).append(item.nodeid)
    if any("held_out" in getattr(item, "fixturenames", ()) for item in kept):
        subject.scored(config)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_report_header(config: pytest.Config) -> str:
    chosen = config.stash[SETTINGS]
    named = f"{chosen.model} ({chosen.weights}), {chosen.dtype} on {chosen.device}"
    over = f" over {chosen.tensor_parallel} ranks" if chosen.tensor_parallel > 1 else ""
    return f"kvgpt: {named}{over}: {', '.join([*chosen.variants, *chosen.caches])}"


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """What was imported for this run, and from where: not in the header, which is printed before."""
    caches = config.stash[SETTINGS].caches if subject.MODEL in config.stash else ()
    return [f"kvgpt: {registry.imported(spec)}" for spec in caches]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(ANSWERS, None):
        answers = config.stash[ANSWERS]
        wrong = [answer for answer in answers if not answer.right]
        terminalreporter.write_line(f"calibration: {len(answers) - len(wrong)} of {len(answers)} known answers")
        for answer in wrong:
            terminalreporter.write_line(f"calibration: {answer}")
    if SAID in config.stash:
        terminalreporter.write_line(config.stash[SAID])
    for reason, names in config.stash[REASONS].items():
        terminalreporter.write_line(f"left out {len(names)} cases: {reason}")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["kvgpt"] = {"device": device.describe(config.stash[SETTINGS].device)}


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Beside the cases: why others were left out, what the instruments made of known answers, the best rates probed."""
    own = output_json.setdefault("kvgpt", {})
    own["left_out"] = config.stash[REASONS]
    if ANSWERS in config.stash:
        roof, answers = config.stash[FLOORS].roof, config.stash[ANSWERS]
        own |= {
            "calibration": [{**vars(answer), "right": answer.right} for answer in answers],
            "roof": {
                "read": {str(size): rate for size, rate in roof.read.items()},
                "copy": roof.copy,
                "flops": roof.flops,
            },
        }


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Before the results are written: the times of the run held to the best that the device did in it."""
    if FLOORS in session.config.stash:
        session.config.stash[FLOORS].finish()
    return (yield)


def _impossible(item: pytest.Item, chosen: Settings, model: GPT) -> str | None:
    parameters = getattr(item, "callspec", None)
    values: dict[str, Any] = parameters.params if parameters else {}
    tokens, variant = max(values.get("new_tokens", 0), values.get("context", 0)), values.get("variant")
    if tokens > (model.config.n_position or tokens):
        return f"{chosen.model} has a context of {model.config.block_size} tokens, {tokens} were asked for"
    if variant in peers.PEERS and (absent := peers.absent(variant)):
        return absent
    if chosen.tensor_parallel > 1 and variant in peers.PEERS:
        return f"{chosen.tensor_parallel} ranks share the model out, and a peer runs in one process"
    alone = getattr(getattr(item, "module", None), "ALONE", None)
    if chosen.tensor_parallel > 1 and alone:
        return f"{chosen.tensor_parallel} ranks share the model out: {alone}"
    if variant is not None and variant not in {*chosen.caches, *peers.PEERS}:
        recipe, has = Variant.parse(variant), (model.config.sharing, model.config.align)
        if has not in ((None, None), (recipe.sharing, recipe.align)):
            return f"{chosen.model} was trained with sharing {has[0]}, which {variant} does not have"
    own = getattr(getattr(item, "module", None), "left_out", None)
    return own(item, chosen, model) if own else None
