"""What every benchmark case is given: its place in the grid, an engine, a workload, and where its record goes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kvgpt import registry, text
from kvgpt.costs import Bill, bill
from kvgpt.engine import Engine
from kvgpt.measure import clocks, device
from kvgpt.measure.calibration import Answer, calibrate
from kvgpt.measure.case import Case, Unwatched
from kvgpt.measure.floors import Floors
from kvgpt.measure.roof import SIZES, Roof, probe
from kvgpt.measure.rounds import Timed, timed
from kvgpt.model import GPT
from kvgpt.options import SETTINGS, Settings
from kvgpt.perplexity import Score, Windows
from kvgpt.recipes import STORAGES, Variant

HERE = Path(__file__).parent
AXES = {
    "batch_size": "batch_sizes",
    "new_tokens": "lengths",
    "context": "lengths",
}  # argument of a case -> settings; the variant comes last
MODES = ("teacher_forced", "autoregressive")
READS = ("cold", "warm")
BEYOND = {  # ways past the learned positions -> (variant, policy)
    "learned": [
        ("v1", "recompute"),
        ("v2", "recompute"),
        ("dense+window", "shift"),
        ("int8+window", "shift"),
        ("v1", "interpolate"),
    ],
    "rotary": [("v1", "error"), ("dense+window", "error"), ("int8+window", "error"), ("v1", "recompute")],
}
DEVICE = "device"  # in place of a variant, of what is measured without one
RANDOM_TOKENS = 16_384  # scored where weights are random and no corpus was asked for
REASONS = pytest.StashKey[dict[str, list[str]]]()
MODEL = pytest.StashKey[GPT]()
FLOORS = pytest.StashKey[Floors]()
TEXT = pytest.StashKey[tuple[text.Corpus | None, Tensor]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Variants last, so that those of one workload are measured next to each other."""
    chosen = metafunc.config.stash[SETTINGS]
    for argument, axis in AXES.items():
        if argument in metafunc.fixturenames:
            values = getattr(chosen, axis)
            metafunc.parametrize(argument, values, ids=[f"{argument}={value}" for value in values])
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", MODES)
    if "reads" in metafunc.fixturenames:
        metafunc.parametrize("reads", READS)
    if "positions" in metafunc.fixturenames:
        embedding = _open(metafunc.config).config.position_embedding
        contexts = chosen.contexts or (0,)
        metafunc.parametrize("contexts", contexts, ids=[f"contexts={value:g}" for value in contexts])
        metafunc.parametrize(("variant", "positions"), BEYOND[embedding])
    elif "variant" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--kvgpt-variants") or chosen.caches
        also = [] if asked else getattr(metafunc.module, "ALSO", ())
        metafunc.parametrize("variant", list(dict.fromkeys([*chosen.variants, *also, *chosen.caches])))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cases that cannot run here are deselected, and the summary says why."""
    chosen, why = config.stash[SETTINGS], config.stash[REASONS]
    cases = [item for item in items if item.path.is_relative_to(HERE)]
    kept, dropped = [item for item in items if item not in cases], list[pytest.Item]()
    for item in cases:
        item.add_marker(pytest.mark.benchmark(timer=clocks.device_clock(chosen.device)))
        reason = _impossible(item, chosen, _open(config))
        (dropped if reason else kept).append(item)
        if reason:
            why.setdefault(reason, []).append(item.name)
    if any("held_out" in getattr(item, "fixturenames", ()) for item in kept):
        _read(config)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_report_header(config: pytest.Config) -> str:
    chosen = config.stash[SETTINGS]
    subject = f"{chosen.model} ({chosen.weights}), {chosen.dtype} on {chosen.device}"
    return f"kvgpt: {subject}: {', '.join([*chosen.variants, *chosen.caches])}"


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """What was imported for this run, and from where: not in the header, which is printed before."""
    caches = config.stash[SETTINGS].caches if MODEL in config.stash else ()
    return [f"kvgpt: {registry.imported(spec)}" for spec in caches]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REASONS] = {}
    config.addinivalue_line("markers", "kvgpt_storage: measures what a cache holds, and so none that holds nothing")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for reason, names in config.stash[REASONS].items():
        terminalreporter.write_line(f"left out {len(names)} cases: {reason}")


def _open(config: pytest.Config) -> GPT:
    chosen = config.stash[SETTINGS]
    if MODEL not in config.stash:
        reason = device.unusable(chosen.device)
        try:
            if reason:
                raise ValueError(reason)
            for spec in chosen.caches:
                registry.plug_in(spec)
            config.stash[MODEL] = registry.open_model(chosen.model, chosen.weights, chosen.dtype, chosen.device)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[MODEL]


def _read(config: pytest.Config) -> tuple[text.Corpus | None, Tensor]:
    """The corpus and the tokens to score, read once; a usage error where there is no text for one window."""
    chosen, shape = config.stash[SETTINGS], _open(config).config
    if TEXT not in config.stash:
        try:
            if chosen.random_weights and not chosen.corpus:
                corpus, generator = None, torch.Generator().manual_seed(1)
                ids = torch.randint(shape.vocab_size, (RANDOM_TOKENS,), generator=generator)
            else:
                corpus = text.corpus(chosen.corpus or "embedded")
                ids = corpus.ids("held_out", text.tokenizer(shape.vocab_size))
            Windows.cut(ids, shape.block_size, shape.block_size, chosen.max_tokens)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        config.stash[TEXT] = corpus, ids
    return config.stash[TEXT]


def _impossible(item: pytest.Item, chosen: Settings, model: GPT) -> str | None:
    parameters = getattr(item, "callspec", None)
    values: dict[str, Any] = parameters.params if parameters else {}
    block_size = model.config.block_size
    tokens = max(values.get("new_tokens", 0), values.get("context", 0))
    if tokens > (model.config.n_position or tokens):
        return f"{chosen.model} has a context of {block_size} tokens, {tokens} were asked for"
    if values.get("contexts") == 0:
        return "this grid streams no text past the context"
    if values.get("contexts", 0) * block_size > (chosen.max_tokens or float("inf")):
        return f"only {chosen.max_tokens} tokens of text were asked for"
    variant = values.get("variant")
    if variant is not None and variant not in chosen.caches:
        recipe = registry.resolve(variant).variant
        if recipe is not None and STORAGES[recipe.storage].bits == 0 and item.get_closest_marker("kvgpt_storage"):
            return f"{variant} keeps nothing that could be attended over"
        has = (model.config.sharing, model.config.align)
        if recipe is not None and has not in ((None, None), (recipe.sharing, recipe.align)):
            return f"{chosen.model} was trained with sharing {has[0]}, which {variant} does not have"
    return None


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    return pytestconfig.stash[SETTINGS]


@pytest.fixture(scope="session")
def model(pytestconfig: pytest.Config) -> GPT:
    return _open(pytestconfig)


@pytest.fixture(scope="session")
def corpus(pytestconfig: pytest.Config) -> text.Corpus | None:
    """The text to score and to calibrate on; None with random weights and no corpus asked for: then ids are random."""
    return _read(pytestconfig)[0]


@pytest.fixture(scope="session")
def scored_text(corpus: text.Corpus | None) -> dict[str, str]:
    """The fields of a workload that tell the text of one corpus from others."""
    return {"corpus": corpus.name, "corpus_sha256": corpus.sha256} if corpus else {"corpus": "random"}


@pytest.fixture(scope="session")
def held_out(pytestconfig: pytest.Config) -> Tensor:
    """The tokens to score, (N,)."""
    return _read(pytestconfig)[1]


@pytest.fixture(scope="session")
def engine_of(model: GPT, settings: Settings, corpus: text.Corpus | None) -> Callable[..., Engine]:
    """``engine_of(variant, batch_size, max_length, positions)``; a model is shared or aligned once for all cases."""
    prepared: dict[str, GPT] = {}

    def make(variant: str, batch_size: int, max_length: int, positions: str = "error") -> Engine:
        if variant in settings.caches:
            cache_class, sharing = registry.plug_in(variant)
            shared = prepared.setdefault(variant, model.share(sharing) if sharing else model)
            return Engine(shared, cache_class, batch_size, max_length, positions)
        if variant not in prepared:
            aligned = Variant.parse(variant).align is not None
            ids = text.calibration(model.config, settings.weights, corpus) if aligned else None
            prepared[variant] = Engine(model, variant, calibration=ids).model
        return Engine(prepared[variant], variant, batch_size, max_length, positions)

    return make


@pytest.fixture(scope="session")
def floors(pytestconfig: pytest.Config, settings: Settings) -> Floors:
    """What this device does at best, probed before the first case and after the last."""
    clock = clocks.host_clock(settings.device)

    def probed() -> Roof:
        return probe(settings.device, settings.dtype, clock)

    return pytestconfig.stash.setdefault(FLOORS, Floors(probed))


@pytest.fixture(scope="session")
def calibration(settings: Settings, floors: Floors) -> list[Answer]:
    """What the instruments made of known answers, before the first case."""
    clock = clocks.device_clock(settings.device)
    return calibrate(settings.device, clock, floors.roof.copy, time.sleep)


@pytest.fixture(scope="session")
def sweep(settings: Settings) -> Callable[[], object]:
    """Reads more than any cache near the cores holds, so that what is read next comes from memory."""
    block = torch.ones(SIZES[settings.device][-1] // 4, device=settings.device)  # float32
    return block.amax


@pytest.fixture
def case(
    request: pytest.FixtureRequest,
    benchmark: Any,
    settings: Settings,
    model: GPT,
    floors: Floors,
    calibration: list[Answer],
) -> Case:
    """``case.begin(family, **fields)`` before a case runs, ``case.end(metrics, ...)`` after it."""
    parameters = getattr(request.node, "callspec", None)
    variant = parameters.params.get("variant", DEVICE) if parameters else DEVICE
    shape = {name: getattr(model.config, name) for name in ("n_layer", "n_head", "n_embd", "block_size")}
    subject = {name: getattr(settings, name) for name in ("model", "weights", "device", "dtype")}
    canonical = variant if variant in (DEVICE, *settings.caches) else registry.canonical(variant)
    wrong = [f"calibration: {answer}" for answer in calibration if not answer.right]
    return Case(benchmark.extra_info, variant, canonical, {**subject, **shape}, Unwatched(), floors, wrong)


@pytest.fixture
def bill_of(model: GPT, settings: Settings, variant: str) -> Callable[[int], Bill]:
    """``bill_of(batch_size)``: what this variant's steps ask of the device, from closed forms."""
    recipe = None if variant in settings.caches else Variant.parse(variant)
    return lambda batch_size: bill(model.config, recipe, settings.dtype, batch_size)


@pytest.fixture
def time_of(benchmark: Any, settings: Settings) -> Callable[..., Timed]:
    """``time_of(body, setup)``: the seconds of ``body``, by the run's clocks and with the run's effort."""
    clock, host = clocks.device_clock(settings.device), clocks.host_clock(settings.device)

    def measure(body: Callable[[], Any], setup: Callable[[], object] = lambda: None) -> Timed:
        return timed(benchmark, body, settings, clock, host, setup)

    return measure


@pytest.fixture(scope="session")
def scores() -> dict[str, Score]:
    """Token by token, what the reference variant scored in this run, by mode."""
    return {}


@pytest.fixture
def prompt(model: GPT, batch_size: int) -> Tensor:
    """One token a row, (B, 1): the end of a text, where the vocabulary has one."""
    return torch.full((batch_size, 1), model.config.vocab_size - 1, device=model.wte.weight.device)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["kvgpt"] = {"device": device.describe(config.stash[SETTINGS].device)}


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Before the results are written: the times of the run held to the best that the device did in it."""
    if FLOORS in session.config.stash:
        session.config.stash[FLOORS].finish()
    return (yield)
