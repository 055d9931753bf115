"""Phases: the parts of a generation are its whole, to the last digit where the clock has no noise."""

import json
from math import fsum

import pytest
import torch
import torch.nn.functional as F
from fake_clock import FakeClock, FakeEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

import kvgpt
from kvgpt import record
from kvgpt.conformance import strategies
from kvgpt.measure.clocks import Mark, device_clock
from kvgpt.measure.phases import (
    FINELY,
    KINDS,
    PHASES,
    TOLERANCE,
    Division,
    Step,
    divided,
    imbalance,
    interleaved,
    marked,
    summary,
)

pytest_plugins = ["pytester"]

N_LAYER, T = 4, 3
CONFIG = kvgpt.GPTConfig(n_layer=N_LAYER, n_head=1, n_embd=4, vocab_size=7, block_size=8)
MODEL = strategies.model(CONFIG, 0, torch.float32)
MARKS = {"embedding": T, "attention": T * N_LAYER, "mlp": T * N_LAYER, "head": T, "other": T}
COSTS = {"embedding": 1.0, "norm": 2.0, "linear": 4.0, "gelu": 8.0, "add": 16.0, "pick": 32.0, "loop": 64.0}
WHOLE = {  # of T tokens at these costs: functions counted by hand from the model's forward
    "embedding": T * (2 * 1 + 16),  # a token's vector, its position's, and their sum
    "attention": T * N_LAYER * (2 + 2 * 4 + 16),  # ln_1, two projections, the residual
    "mlp": T * N_LAYER * (2 + 2 * 4 + 8 + 16),  # ln_2, two projections and what is between them, the residual
    "head": T * (2 + 4),  # ln_f and the tied projection
    "other": T * (32 + 64),  # the choice of a token, and what the caller does with it
}


class Work(TorchFunctionMode):
    """Torch's functions take their time on a fake clock, whichever module calls them."""

    def __init__(self, clock, costs):
        super().__init__()
        self.clock, self.costs = clock, costs

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        names = {F.embedding: "embedding", F.layer_norm: "norm", F.linear: "linear", F.gelu: "gelu"}
        names |= {torch.Tensor.argmax: "pick", torch.argmax: "pick"}
        name = names.get(function, "add" if function is torch.Tensor.add and made.dim() == 3 else None)
        if name:
            self.clock.advance(self.costs[name])
        return made


def engine_of(variant="v1", batch_size=1):
    return kvgpt.Engine(MODEL, variant, batch_size)


def generation(engine, clock, costs=COSTS):
    """A body whose every part takes a known time."""
    prompt = torch.zeros(engine.batch_size, 1, dtype=torch.int64)

    def generate():
        with Work(clock, costs):
            for _ in engine.stream(prompt, T):
                clock.advance(costs["loop"])

    return generate


def stepwise(engine, clock):
    """A generation, each item a step whose every part takes a known time."""
    tokens = engine.stream(torch.zeros(engine.batch_size, 1, dtype=torch.int64), T)
    while True:
        with Work(clock, COSTS):
            token = next(tokens, None)
        if token is None:
            return
        clock.advance(COSTS["loop"])
        yield token


def division(seconds, marks=0):
    return Division(dict(zip(PHASES, seconds, strict=True)), dict.fromkeys(PHASES, marks))


def measured(whole, once, finely):
    """Three generations of one step, one of each kind."""
    return [[Step(kind, one)] for kind, one in enumerate((division([0, 0, 0, 0, whole]), once, finely))]


def values(metrics):
    return {name: figure["value"] for name, figure in metrics.items()}


@pytest.mark.parametrize("finely", [False, True], ids=["once", "finely"])
@pytest.mark.parametrize("variant", ["v0", "v1", "v2", "v3", "v4", "v3a", "v4a", "dense+matmul", "dense-cat"])
def test_every_part_is_the_time_that_its_work_took(variant, finely):
    clock, engine = FakeClock(), engine_of(variant)
    found = divided(marked(generation(engine, clock), engine.model, clock, finely))
    assert found.seconds == WHOLE and found.total == clock.now


@settings(max_examples=20)
@given(costs=st.fixed_dictionaries({name: st.floats(0, 1) for name in COSTS}))
def test_the_parts_are_the_whole_to_the_last_digit(costs):
    clock, engine = FakeClock(), engine_of()
    found = divided(marked(generation(engine, clock, costs), engine.model, clock))
    assert found.total == pytest.approx(clock.now, rel=1e-15, abs=0)


def test_a_mark_stands_at_the_beginning_of_each_phase():
    engine = engine_of()
    body = generation(engine, FakeClock())
    once, finely = (divided(marked(body, engine.model, FakeClock(), how)) for how in (False, True))
    assert once.marks == MARKS and once.count == T * (2 * N_LAYER + 3)
    more = {"embedding": 2, "attention": 4 * N_LAYER, "mlp": 3 * N_LAYER, "head": 1, "other": 0}  # modules called
    assert {phase: finely.marks[phase] - once.marks[phase] for phase in PHASES} == {p: T * n for p, n in more.items()}


def test_marks_change_no_token():
    engine, tokens, ids = engine_of("v2", 2), [], torch.tensor([[1], [5]])
    marked(lambda: tokens.append(engine.generate(ids, T)), engine.model, FakeClock(), finely=True)
    assert torch.equal(tokens[0], engine.generate(ids, T))


@pytest.mark.parametrize("finely", [False, True], ids=["once", "finely"])
def test_hooks_are_gone_also_after_an_exception(finely):
    engine, clock, calls = engine_of(), FakeClock(), []
    handle = MODEL.h[1].register_forward_pre_hook(lambda *_: calls.append("the user's own"))

    def broken():
        engine.prefill(torch.zeros(1, 1, dtype=torch.int64))
        raise KeyboardInterrupt

    with handle:
        with pytest.raises(KeyboardInterrupt):
            marked(broken, engine.model, clock, finely)
        before = clock.readings
        assert before > 1
        engine.generate(torch.zeros(1, 1, dtype=torch.int64), T)
    assert clock.readings == before and len(calls) == 1 + T


def test_nothing_waits_for_a_gpu_before_the_last_step_is_done():
    clock, engine, log = FakeClock(), engine_of(), []

    def generation():
        yield from stepwise(engine, clock)
        log.append("done")

    found = interleaved(generation(), engine.model, lambda: Mark(FakeEvent(clock, log)))
    assert fsum(step.division.total for step in found) == fsum(WHOLE.values())
    end = log.index("done")
    assert "synchronize" not in log[:end] and "synchronize" in log[end:]


@pytest.mark.parametrize(
    ("first", "kinds"), [(0, [0, 1, 2]), (1, [1, 2, 0]), (2, [2, 0, 1]), (3, [0, 2, 1]), (4, [1, 0, 2]), (6, [0, 1, 2])]
)
def test_the_kinds_of_steps_follow_each_other_in_turn_and_backwards(first, kinds):
    engine, clock = engine_of(), FakeClock()
    found = interleaved(stepwise(engine, clock), engine.model, clock, first)
    assert [step.kind for step in found] == kinds
    more = T * N_LAYER * 7 // T + 3  # modules at which no phase begins, a step
    marks = {0: 0, 1: 2 * N_LAYER + 3, FINELY: 2 * N_LAYER + 3 + more}
    assert [step.division.count for step in found] == [marks[kind] for kind in kinds]


@pytest.mark.parametrize("first", [0, 3, 6, 9])
def test_three_generations_have_every_step_of_every_kind(first):
    engine, clock = engine_of(), FakeClock()
    found = [interleaved(stepwise(engine, clock), engine.model, clock, first + n) for n in range(KINDS)]
    assert {(t, step.kind) for steps in found for t, step in enumerate(steps)} == {
        (t, kind) for t in range(T) for kind in range(KINDS)
    }


@pytest.mark.parametrize("cost", [0.0, 0.5])
@pytest.mark.parametrize("generations", [1, 2, 3, 7])
def test_what_the_marks_cost_is_taken_off(cost, generations):
    clock, engine = FakeClock(cost), engine_of()
    found = [interleaved(stepwise(engine, clock), engine.model, clock, n) for n in range(generations)]
    metrics = summary(found)
    read, watched = values(metrics), T * cost  # an unmarked step's own clock is read once within it
    assert read.pop("hook_cost") == cost
    assert read.pop("phase_sum") == read.pop("total_latency") == fsum(WHOLE.values()) + watched
    assert read == {f"phase_{p}": seconds + (watched if p == "other" else 0) for p, seconds in WHOLE.items()}
    assert not imbalance(metrics)


def test_one_interruption_spoils_no_figure():
    once, finely = division([3, 5, 7, 2, 4], 1), division([4, 6, 8, 3, 5], 2)
    quiet = [step for _ in range(3) for step in measured(16.0, once, finely)]
    for place, spoilt in ((0, division([0, 0, 0, 0, 400.0])), (4, division([3, 500.0, 7, 2, 4], 1)), (8, finely)):
        found = list(quiet)
        found[place] = [Step(place % KINDS, spoilt)]
        read = values(summary(found))
        assert read == values(summary(quiet)) and read["phase_attention"] == 4 and read["total_latency"] == 16


def test_a_step_that_was_not_measured_is_as_its_neighbour():
    growing = [Step(t % KINDS, division([t, 0, 0, 0, 0], marks=(0, 1, 2)[t % KINDS])) for t in range(90)]
    read = values(summary([growing]))
    assert read["total_latency"] == pytest.approx(sum(range(90)), rel=0.02)
    assert read["phase_sum"] == pytest.approx(read["total_latency"], rel=0.02)


@pytest.mark.parametrize(("excess", "sound"), [(0.029, True), (-0.029, True), (0.031, False), (-0.031, False)])
def test_parts_that_are_not_the_whole_make_a_record_invalid(excess, sound):
    once = division([0.2 * (1 + excess)] * 5, 1)
    finely = division([0.2 * (1 + excess)] * 5, 2)
    metrics = summary(measured(1.0, once, finely))
    notes = imbalance(metrics)
    made = record.record("phases", "v1", "dense", {}, metrics, notes)
    assert made["validity"]["ok"] is sound
    if not sound:
        assert f"{1 + excess:.4g} s" in notes[0] and "1 s" in notes[0] and "3%" in notes[0]


def test_a_phase_below_zero_makes_a_record_invalid():
    once, finely = division([0.25, 7.0, 7.0, 1.0, 5.75], 1), division([0.25, 9.0, 9.0, 1.0, 6.75], 2)
    (note,) = imbalance(summary(measured(16.0, once, finely)))  # a mark seems to cost 1
    assert note.startswith("phase_embedding comes out at -0.75 s")


@pytest.fixture
def bench(pytester, pytestconfig, monkeypatch, tmp_path):
    """Run the phases of a tiny model somewhere else."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    config = kvgpt.GPTConfig(n_layer=2, n_head=1, n_embd=64, vocab_size=257, block_size=300)
    strategies.model(config, 0, torch.float32).save_pretrained(tmp_path / "tiny")
    here = pytestconfig.rootpath

    def run(*arguments):
        return pytester.runpytest_subprocess(
            str(here / "benchmarks" / "bench_phases.py"),
            f"--rootdir={here}",
            f"-c{here / 'pytest.ini'}",
            f"--kvgpt-model={tmp_path / 'tiny'}",
            *arguments,
        )

    return run


def test_phases_are_measured_at_lengths_of_their_own_where_the_context_allows(bench):
    result = bench("--collect-only", "-q", "--kvgpt-variants=v1,v2")
    result.stdout.fnmatch_lines(
        ["*new_tokens=256*v1*", "*new_tokens=256*v2*", "left out 2 cases: * 512 were asked for"]
    )


def test_a_case_leaves_a_record_with_all_its_parts(bench, pytester):
    out, grid = pytester.path / "out.json", pytester.path / "short.toml"
    grid.write_text("lengths = [4]\nbatch_sizes = [2]\nseconds = 0.2\nprecision = 1.0\n")
    arguments = [f"--kvgpt-grid={grid}", "--kvgpt-lengths=4", "--kvgpt-variants=v0,v2"]
    result = bench(*arguments, f"--benchmark-json={out}")
    assert result.ret == 0, result.stdout.str()
    made = [one["extra_info"]["kvgpt"] for one in json.loads(out.read_text())["benchmarks"]]
    assert [(one["family"], one["variant"]) for one in made] == [("phases", "v0"), ("phases", "v2")]
    for one in made:
        figures = one["metrics"]
        assert one["workload"]["new_tokens"] == 4 and one["details"]["generations"] >= 1
        parts = [figures[f"phase_{phase}"]["value"] for phase in PHASES]
        assert figures["phase_sum"]["value"] == pytest.approx(fsum(parts))
        assert figures["per_token_latency"]["value"] == pytest.approx(figures["total_latency"]["value"] / 4)
        excess = abs(figures["phase_sum"]["value"] / figures["total_latency"]["value"] - 1)
        said = [note for note in one["validity"]["notes"] if note.startswith("the phases sum to")]
        assert len(said) == (excess > TOLERANCE)


@pytest.mark.gpu
def test_a_gpus_stream_is_divided_by_its_own_events():
    model, clock = strategies.model(CONFIG, 0, torch.float32).to("cuda"), device_clock("cuda")
    engine = kvgpt.Engine(model, "v2")
    ids = torch.zeros(1, 1, dtype=torch.int64, device="cuda")
    engine.generate(ids, T)
    begun = clock()
    found = divided(marked(lambda: engine.generate(ids, T), engine.model, clock))
    whole = clock() - begun
    assert found.marks == MARKS and all(found.seconds[phase] > 0 for phase in PHASES)
    assert found.total <= whole + 1e-6 * (found.count + 2)
