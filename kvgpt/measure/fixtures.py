"""What every benchmark case is given: its subject, an engine, clocks, floors, and a place for its record."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch
from torch import Tensor

from kvgpt import peers, registry, text
from kvgpt.costs import Bill, bill
from kvgpt.engine import Engine
from kvgpt.fastest import fastest
from kvgpt.measure import clocks, lockstep, subject, turns
from kvgpt.measure.calibration import Answer, calibrate
from kvgpt.measure.calm import Gauge, of_processor
from kvgpt.measure.case import Case
from kvgpt.measure.clock_lock import locked
from kvgpt.measure.device import last_level_cache
from kvgpt.measure.floors import Floors
from kvgpt.measure.host import Host
from kvgpt.measure.roof import SECONDS, SIZES, Roof, probe
from kvgpt.measure.rounds import Timed, timed
from kvgpt.measure.state import Sampler
from kvgpt.model import GPT
from kvgpt.options import SETTINGS, Settings
from kvgpt.parallel import Ranks
from kvgpt.recipes import REFERENCE, Variant

DEVICE = "device"  # in place of a variant, of what is measured without one
FLOORS = pytest.StashKey[Floors]()
ANSWERS = pytest.StashKey[list[Answer]]()
SAID = pytest.StashKey[str]()  # of the clocks, where a run was to lock them


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    return pytestconfig.stash[SETTINGS]


@pytest.fixture(scope="session")
def model(pytestconfig: pytest.Config) -> GPT:
    return subject.model(pytestconfig)


@pytest.fixture(scope="session")
def ranks(pytestconfig: pytest.Config) -> Ranks:
    """The processes that measure together; most often one that is alone."""
    return pytestconfig.stash[lockstep.RANKS]


@pytest.fixture(scope="session")
def corpus(pytestconfig: pytest.Config) -> text.Corpus | None:
    """The text to score and to calibrate on; None where ids are random."""
    return subject.scored(pytestconfig)[0]


@pytest.fixture(scope="session")
def scored_text(corpus: text.Corpus | None) -> dict[str, str]:
    """The fields of a workload that tell the text of one corpus from others."""
    return {"corpus": corpus.name, "corpus_sha256": corpus.sha256} if corpus else {"corpus": "random"}


@pytest.fixture(scope="session")
def held_out(pytestconfig: pytest.Config) -> Tensor:
    """The tokens to score, (N,)."""
    return subject.scored(pytestconfig)[1]


@pytest.fixture(scope="session")
def engine_of(model: GPT, settings: Settings, corpus: text.Corpus | None, ranks: Ranks) -> Callable[..., Any]:
    """``engine_of(variant, batch_size, max_length, positions)``: an engine, or a peer, which has its interface.

    A model is shared, aligned and split over ranks once for all cases. ``steps`` are how an engine's are run, by
    default the fastest way.
    """
    prepared: dict[str, GPT] = {}

    def make(variant: str, batch_size: int, max_length: int, positions: str = "error", steps: Any = fastest) -> Any:
        if variant in peers.PEERS:
            return peers.build(variant, model, batch_size, max_length)
        if variant in settings.caches:
            cache_class, sharing = registry.plug_in(variant)
            if variant not in prepared:
                prepared[variant] = ranks.part(model.share(sharing) if sharing else model)
            return Engine(prepared[variant], cache_class, batch_size, max_length, positions, steps=steps, ranks=ranks)
        if variant not in prepared:
            aligned = Variant.parse(variant).align is not None
            ids = text.calibration(model.config, settings.weights, corpus) if aligned else None
            prepared[variant] = Engine(model, variant, calibration=ids, ranks=ranks).model
        return Engine(prepared[variant], variant, batch_size, max_length, positions, steps=steps, ranks=ranks)

    return make


@pytest.fixture(scope="session")
def floors(pytestconfig: pytest.Config, settings: Settings) -> Floors:
    """What this device does at best, probed before the first case and after the last."""
    clock = clocks.host_clock(settings.device)

    def probed() -> Roof:
        return probe(settings.device, settings.dtype, clock, min(SECONDS, settings.seconds))

    return pytestconfig.stash.setdefault(FLOORS, Floors(probed, last_level_cache(settings.device)))


@pytest.fixture(scope="session")
def calibration(pytestconfig: pytest.Config, settings: Settings, floors: Floors) -> list[Answer]:
    """What the instruments made of known answers, before the first case."""
    clock = clocks.device_clock(settings.device)
    answers = calibrate(settings.device, clock, floors.roof.copy, time.sleep)
    return pytestconfig.stash.setdefault(ANSWERS, answers)


@pytest.fixture(scope="session")
def watch(pytestconfig: pytest.Config, settings: Settings) -> Iterator[Sampler]:
    """The device's state, with its clocks locked for the run where that was asked for and is permitted."""
    host = Host(partner=turns.turn(pytestconfig).others_own)
    if not settings.lock_clocks:
        yield Sampler(settings.device, host=host)
        return
    with locked(settings.device) as outcome:
        pytestconfig.stash[SAID] = outcome.said
        yield Sampler(settings.device, outcome.clock, host)


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
    watch: Sampler,
) -> Case:
    """``case.begin(family, **fields)`` before a case runs, ``case.end(metrics, ...)`` after it."""
    parameters = getattr(request.node, "callspec", None)
    variant = parameters.params.get("variant", DEVICE) if parameters else DEVICE
    shape = {name: getattr(model.config, name) for name in ("n_layer", "n_head", "n_embd", "block_size")}
    workload = {name: getattr(settings, name) for name in ("model", "weights", "device", "dtype")} | shape
    if settings.tensor_parallel > 1:
        workload["tensor_parallel"] = settings.tensor_parallel
    strangers = (DEVICE, *peers.PEERS, *settings.caches)
    canonical = variant if variant in strangers else registry.canonical(variant)
    wrong = [f"calibration: {answer}" for answer in calibration if not answer.right]
    return Case(benchmark.extra_info, variant, canonical, workload, watch, floors, wrong)


@pytest.fixture
def bill_of(model: GPT, settings: Settings, variant: str) -> Callable[[int], Bill]:
    """``bill_of(batch_size)``: what this variant's steps ask of the device, or of each rank's, from closed forms."""
    known = REFERENCE if variant in peers.PEERS else variant  # a peer is held to what the reference must do
    recipe = None if known in settings.caches else Variant.parse(known)
    ranks = settings.tensor_parallel
    return lambda batch_size: bill(model.config, recipe, settings.dtype, batch_size, ranks, model.coded)


@pytest.fixture(scope="session")
def gauge(pytestconfig: pytest.Config, settings: Settings, model: GPT) -> Gauge | None:
    """Tells whether the processors are calm; None on a GPU, and where others measure in turns with this process or
    together with it, which would choose other moments.
    """
    if settings.device != "cpu" or pytestconfig.pluginmanager.hasplugin(turns.NAME):
        return None
    return of_processor(model.parameters() if model.nbytes <= (last_level_cache() or inf) else ())


@pytest.fixture
def time_of(
    pytestconfig: pytest.Config,
    benchmark: Any,
    case: Case,
    settings: Settings,
    ranks: Ranks,
    floors: Floors,
    gauge: Gauge | None,
) -> Callable[..., Timed]:
    """``time_of(body, setup, times)``: the seconds of ``body``, by the run's clocks and with the run's effort.

    A case of which each round measures as much as ``times`` rounds of others may take as many times as long. ``least``
    seconds are what a round takes at best: where that is too long, nothing is warmed up. Ranks begin each together.
    Where rounds are compared ``in_turns`` all count, in their order: they meet the same moments by themselves.
    """
    clock, host = clocks.device_clock(settings.device), clocks.host_clock(settings.device)
    turn = turns.turn(pytestconfig)

    def measure(
        body: Callable[[], Any],
        setup: Callable[[], object] = lambda: None,
        times: int = 1,
        least: float = 0.0,
        in_turns: bool = False,
    ) -> Timed:
        effort = replace(settings, seconds=times * settings.seconds)

        def ready() -> None:
            setup()
            ranks.wait()

        made = timed(benchmark, body, effort, clock, host, ready, least, turn, None if in_turns else gauge)
        case.details |= made.details
        if gauge is not None:
            floors.roof.raise_to(gauge.roof())
        return made

    return measure


@pytest.fixture
def prompt(model: GPT, settings: Settings, batch_size: int) -> Tensor:
    """One token a row, (B, 1): the end of a text, where the vocabulary has one."""
    return torch.full((batch_size, 1), model.config.vocab_size - 1, device=model.device)
