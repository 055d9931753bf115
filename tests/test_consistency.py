"""Consistency: sound results pass every rule; one figure that cannot be is refused, with a sentence on why."""

import json
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kvgpt import cli, costs, record, recorded
from kvgpt.config import GPTConfig
from kvgpt.recipes import ALIASES, Variant
from kvgpt.record import metric
from kvgpt.report import consistency

VARIANTS = ("v0", "v1", "v2", "v3", "v4")
DEVICE = {"kind": "cpu", "name": "a CPU"}
FEWER = settings(max_examples=max(4, settings.default.max_examples // 8))  # for each of many plants


def made(family, variant, workload, metrics, notes=(), details=None, name=""):
    figures = {key: value if isinstance(value, dict) else metric(key, value) for key, value in metrics.items()}
    one = record.record(family, variant, ALIASES.get(variant, variant), workload, figures, notes, details)
    reasons = tuple(one["validity"]["notes"])
    where = name or f"{family} {variant}"
    fields = (one["canonical"], recorded.Workload(workload, where), one["metrics"], not reasons, reasons)
    return recorded.Case(where, family, variant, *fields, one.get("details", {}))


def results(cases, device=DEVICE):
    return recorded.Results(Path("out.json"), device, tuple(cases))


@st.composite
def sound(draw):
    """A record of every family for five variants, worked out from the closed forms."""
    model, dtype = (
        draw(st.sampled_from(("nano", "gpt2", "gpt2-medium"))),
        draw(st.sampled_from(("float32", "bfloat16"))),
    )
    config = GPTConfig.preset(model)
    length, rows = draw(st.integers(1, config.block_size)), draw(st.integers(1, 64))
    shape = {field: getattr(config, field) for field in ("n_layer", "n_head", "n_embd", "block_size")}
    common = {"model": model, "weights": "random:0", "device": "cpu", "dtype": dtype, **shape}
    sized = common | {"batch_size": rows, "new_tokens": length, "max_length": length}
    transient = draw(st.integers(0, 10**7))
    each_token, slower = draw(st.floats(1e-6, 1.0)), draw(st.floats(1.0, 9.0))
    weights = costs.weights_bytes(config, dtype)
    budget = weights + draw(st.integers(10**8, 10**11))
    cases = [made("floor", "v1", common, {"read_bandwidth": 1e10, "matmul_rate": 1e11})]
    for variant in VARIANTS:
        recipe = Variant.parse(variant)
        own = costs.weights_bytes(GPTConfig.preset(model, sharing=recipe.sharing), dtype)
        cache = costs.cache_bytes(config, recipe, rows, length, dtype)
        held = {"weights_bytes": own, "cache_bytes": cache, "cache_bytes_formula": cache, "transient_bytes": transient}
        total, loss = each_token * length, draw(st.floats(0.1, 10.0))
        whole = metric("total_latency", total, interval=(0.9 * total, 1.1 * total))
        split = {
            "phase_embedding": 0.1,
            "phase_attention": 0.4,
            "phase_mlp": 0.3,
            "phase_head": 0.1,
            "phase_other": 0.1,
        }
        cases += [
            made(
                "memory", variant, sized, {**held, "steady_memory": own + cache, "peak_memory": own + cache + transient}
            ),
            made(
                "latency",
                variant,
                sized,
                {
                    "total_latency": whole,
                    "per_token_latency": each_token,
                    "throughput": rows * length / total,
                    "floor": each_token / slower,
                    "fraction_of_floor": 1 / slower,
                    "time_to_first_token": each_token,
                    "time_to_first_token_floor": each_token / slower,
                },
            ),
            made(
                "phases",
                variant,
                sized,
                {name: share * total for name, share in split.items()} | {"phase_sum": total, "total_latency": total},
            ),
            made(
                "perplexity",
                variant,
                common | {"mode": "autoregressive", "scored_tokens": 9},
                {"perplexity": exp(loss), "nll": loss},
            ),
        ]
        alone = costs.cache_bytes(config, recipe, 1, length, dtype)
        fits = (budget - own) // (alone + transient // rows + (alone == 0) * 1013 + 1)
        cases.append(
            made("capacity", variant, common | {"context": length, "memory_budget": budget}, {"max_batch": fits})
        )
    v0, *others = [case.value("max_batch") for case in cases if case.family == "capacity"]
    assume(v0 not in others)
    return cases


def changed(case, **figures):
    """The case with the values of these metrics changed."""
    return replace(
        case,
        metrics={**case.metrics, **{name: {**case.metrics[name], "value": value} for name, value in figures.items()}},
    )


def scaled(name, factor):
    return lambda case: changed(case, **{name: factor * case.value(name)})


def elsewhere(case, **fields):
    return replace(case, workload=recorded.Workload({**case.workload, **fields}, case.name))


def one_too_many(case):
    each = costs.cache_bytes(
        GPTConfig.preset(case.workload["model"]),
        Variant.parse(case.canonical),
        1,
        case.workload["context"],
        case.workload["dtype"],
    )
    shared = GPTConfig.preset(case.workload["model"], sharing=Variant.parse(case.canonical).sharing)
    room = case.workload["memory_budget"] - costs.weights_bytes(shared, case.workload["dtype"])
    return changed(case, max_batch=room // each + 1)


PLANTED = [  # the rule that must notice, the family, and one figure that cannot be
    ("cache bytes", "memory", lambda case: changed(case, cache_bytes=case.value("cache_bytes") + 1)),
    ("weights bytes", "memory", scaled("weights_bytes", 1.04)),
    ("additive memory", "memory", scaled("peak_memory", 1.04)),
    ("additive memory", "memory", scaled("peak_memory", 0.96)),
    ("additive memory", "memory", scaled("steady_memory", 0.96)),
    ("capacity", "capacity", one_too_many),
    ("floor", "latency", lambda case: changed(case, floor=1.04 * case.value("per_token_latency"))),
    ("floor", "latency", lambda case: changed(case, fraction_of_floor=1.04)),
    (
        "floor",
        "latency",
        lambda case: changed(case, time_to_first_token=case.value("time_to_first_token_floor") / 1.04),
    ),
    ("latency", "latency", scaled("per_token_latency", 1.04)),
    ("throughput", "latency", scaled("throughput", 1.04)),
    ("phases", "phases", scaled("total_latency", 1 / 1.41)),
    ("phases", "phases", scaled("phase_attention", 1.1)),
    (
        "phases",
        "phases",
        lambda case: changed(
            case, phase_embedding=-case.value("phase_other"), phase_other=3 * case.value("phase_other")
        ),  # the sum is right
    ),
    ("perplexity", "perplexity", scaled("perplexity", 1.002)),
    ("perplexity", "perplexity", scaled("perplexity", 0)),
    ("scored tokens", "perplexity", lambda case: elsewhere(case, scored_tokens=0)),
    ("intervals", "latency", scaled("total_latency", 1.2)),
    ("intervals", "latency", scaled("total_latency", 0.8)),
    ("device", "memory", lambda case: elsewhere(case, device="cuda")),
    ("roof", "latency", lambda case: elsewhere(case, device="cuda")),
]


@given(sound())
def test_results_that_follow_from_the_closed_forms_are_consistent_by_every_rule(cases):
    found = consistency.examine(results(cases))
    assert list(map(str, found.violations)) == []
    assert set(found.applied) == set(consistency.RULES) and found.excused == {}
    consistency.baseline(results(cases))


@pytest.mark.parametrize(
    ("rule", "family", "plant"), PLANTED, ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(PLANTED)]
)
@FEWER
@given(cases=sound(), variant=st.sampled_from(VARIANTS[1:]))
def test_one_figure_that_cannot_be_is_found_in_its_case_by_its_rule(rule, family, plant, cases, variant):
    planted = [plant(case) if case.name == f"{family} {variant}" else case for case in cases]
    found = [one for one in consistency.violations(results(planted)) if one.rule == rule]
    assert found and all(f"{family} {variant}" in one.cases for one in found)
    with pytest.raises(ValueError, match=rf"out\.json: .*contradict(.|\n)*{rule}: .*{family} {variant}"):
        consistency.refuse(results(planted))


@given(cases=sound(), variant=st.sampled_from(("v2", "v3", "v4")), more=st.floats(0.05, 2.0))
def test_a_saving_larger_than_the_cache_is_refused_however_small_beside_the_weights(cases, variant, more):
    whole = next(case.value("cache_bytes") for case in cases if case.name == "memory v1")
    planted = [
        changed(case, peak_memory=case.value("peak_memory") - more * whole)
        if case.name == f"memory {variant}"
        else case
        for case in cases
    ]
    (found,) = [one for one in consistency.violations(results(planted)) if one.rule == "saving"]
    assert found.cases == ("memory v1", f"memory {variant}") and f"{variant} peaks" in found.sentence


MEDIUM = {"model": "gpt2-medium", "device": "cuda", "dtype": "bfloat16", "max_length": 1024}
A100 = {"kind": "cuda", "name": "A100"}


def medium(family, variant, metrics, **fields):
    return made(family, variant, MEDIUM | fields, metrics)


def capacities(v0, v1, **more):
    room = {"memory_budget": 50e9}
    return [medium("capacity", name, {"max_batch": fits, **more}, **room) for name, fits in (("v0", v0), ("v1", v1))]


def broken(*cases, device=A100):
    return [one.rule for one in consistency.violations(results(cases, device))]


def test_a_model_without_a_cache_does_not_end_at_the_same_sequence_as_one_with_it():
    assert broken(*capacities(480, 480)) == ["equal capacities"]
    assert broken(*capacities(481, 480)) == []
    assert broken(*capacities(480, 480, bytes_per_sequence=102e6)) == [], "the records say what fills the memory"
    assert broken(*capacities(40, 40)) == [], "transients may make up for a few sequences"


def test_what_fits_is_held_to_the_peak_that_was_read_at_the_edge():
    assert broken(medium("capacity", "v1", {"max_batch": 491, "peak_memory": 47.2e9})) == ["capacity"]
    assert broken(medium("capacity", "v1", {"max_batch": 450, "peak_memory": 47.2e9})) == []


def test_no_cache_bounds_what_a_variant_without_one_fits():
    assert broken(medium("capacity", "v0", {"max_batch": 4500}, memory_budget=48e9)) == []


def test_a_peak_below_weights_and_cache_is_refused_without_transients_too():
    assert broken(medium("memory", "v1", {"peak_memory": 760e6}, batch_size=1)) == ["additive memory"]
    assert broken(medium("memory", "v1", {"peak_memory": 870e6}, batch_size=1)) == []


def test_weights_and_transients_that_records_state_may_differ():
    reference = {"peak_memory": 900e6, "weights_bytes": 709.6e6, "transient_bytes": 90e6}
    sized = [medium("memory", "v1", reference, batch_size=1)]
    smaller = {"peak_memory": 760e6, "weights_bytes": 659.3e6, "transient_bytes": 50e6}
    assert broken(*sized, medium("memory", "v3", smaller, batch_size=1)) == []
    silent = [
        made(case.family, case.variant, case.workload, {"peak_memory": case.value("peak_memory")}) for case in sized
    ]
    assert broken(*silent, medium("memory", "v3", {"peak_memory": 760e6}, batch_size=1)) == ["saving"]


@pytest.mark.parametrize("details", [{"in_cache": True}, None])
def test_a_floor_knows_of_caches_so_that_what_stays_in_one_is_held_to_it_too(details):
    figures = {"per_token_latency": 1e-3, "floor": 2e-3}
    fast = made("decode", "v1", {"device": "cpu"}, figures, details=details)
    assert broken(fast, device=DEVICE) == ["floor"]
    assert "1 ms is below its floor of 2 ms" in str(consistency.violations(results([fast]))[0])


def test_a_record_that_is_not_valid_claims_no_time_but_its_bytes_must_be_right():
    noted = ["throttled: power cap"]
    slow = made("decode", "v1", {"device": "cpu"}, {"per_token_latency": 1e-3, "floor": 2e-3}, noted)
    assert broken(slow, device=DEVICE) == []
    assert consistency.examine(results([slow])).excused["floor"][0].sentence == "not valid: throttled: power cap"
    wrong = {"cache_bytes": 8.0, "cache_bytes_formula": 9.0}
    assert broken(made("memory", "mine:Mine", {"batch_size": 1}, wrong, noted)) == ["cache bytes"]


def test_phases_without_a_total_are_held_to_the_latency_case_beside_them():
    sized = {"device": "cpu", "batch_size": 1, "new_tokens": 512}
    phases = made("phases", "v1", sized | {"rounds": 3}, {"phase_attention": 1.5, "phase_mlp": 0.8})
    beside = made("latency", "v1", sized | {"rounds": 7}, {"total_latency": 1.64})
    (found,) = consistency.violations(results([phases, beside]))
    assert found.rule == "phases" and found.cases == ("phases v1", "latency v1")
    assert "phases add up to 2.3 s, 140% of the 1.64 s in total" in found.sentence
    other = made("latency", "v2", sized, {"total_latency": 1.64})
    longer = made("latency", "v1", sized | {"new_tokens": 1024}, {"total_latency": 1.64})
    assert broken(phases, other, longer, device=DEVICE) == []
    assert broken(phases, made("latency", "v1", sized, {"total_latency": 2.3}), device=DEVICE) == []


def test_one_case_twice_and_one_case_on_two_devices():
    sized = {"device": "cpu", "batch_size": 1, "new_tokens": 8}
    first = made("latency", "v1", sized, {"total_latency": 1.0}, name="first")
    again = replace(first, name="again")
    assert [one.cases for one in consistency.violations(results([first, again]))] == [("first", "again")]
    assert broken(first, replace(first, variant="v2"), device=DEVICE) == []
    moved = elsewhere(again, device_name="another CPU")
    found = consistency.violations(results([elsewhere(first, device_name="a CPU"), moved]))
    assert [one.rule for one in found] == ["device", "device"]
    assert "measured on another CPU, in results of a CPU" in found[0].sentence
    assert "total_latency of one case on cpu, a CPU and on cpu, another CPU" in found[1].sentence


def test_a_roof_of_another_card_is_named():
    roof = medium("floor", "v1", {"matmul_rate": 312e12}, device_name="A100")
    timed = {"per_token_latency": 3e-3, "floor": 1e-3}
    found = consistency.violations(results([roof, medium("decode", "v1", timed, device_name="RTX A6000")], {}))
    assert [one.sentence for one in found] == ["times of cuda, RTX A6000 under a roof of cuda, A100"]
    assert broken(roof, medium("decode", "v1", timed, device_name="A100")) == []


def test_what_nobody_has_a_closed_form_of_is_held_to_what_its_records_say():
    mine = made("memory", "mine:Mine", {"model": "./mine", "batch_size": 1, "max_length": 8}, {"cache_bytes": 7})
    assert consistency.examine(results([mine])).applied == ("cases",)


@pytest.mark.parametrize("workload", [{"n_layer": 0}, {"n_embd": 7}, {"n_head": "twelve"}])
def test_a_workload_that_means_nothing_is_named(workload):
    case = made(
        "memory",
        "v1",
        {"model": "nano", "dtype": "float32", "batch_size": 1, "new_tokens": 8} | workload,
        {"cache_bytes": 1},
    )
    with pytest.raises(ValueError, match="memory v1: no model has this workload: n_"):
        consistency.violations(results([case]))


def said(of):
    try:
        return list(map(str, consistency.violations(of)))
    except ValueError as error:
        return [str(error)]


@given(cases=sound(), number=st.sampled_from((0, -1, 1e-308, 1.7e308, 10**308, -(10**308))), data=st.data())
def test_no_figure_is_too_odd_to_be_judged(cases, number, data):
    case = data.draw(st.sampled_from(cases))
    name = data.draw(st.sampled_from(sorted(case.metrics)))
    odd = results([changed(one, **{name: number}) if one is case else one for one in cases])
    assert all(line.startswith(("out.json: figures beyond", *consistency.RULES)) for line in said(odd))


def test_a_run_that_is_not_valid_is_no_baseline():
    sized = {"device": "cpu", "batch_size": 1}
    cases = [
        made("latency", "v1", sized | {"new_tokens": n}, {"total_latency": 1.0}, ["throttled"], name=f"case {n}")
        for n in range(1, 6)
    ]
    consistency.refuse(results(cases))
    with pytest.raises(
        ValueError, match="5 of 5 records are not valid, so it is no baseline: case 1: throttled"
    ) as why:
        consistency.baseline(results(cases))
    assert "case 3: throttled; and 2 more" in str(why.value) and "case 4" not in str(why.value)
    consistency.baseline(results([replace(case, valid=True, notes=()) for case in cases]))
    wrong = made("latency", "v1", sized | {"new_tokens": 8}, {"total_latency": 1.0, "per_token_latency": 1.0})
    with pytest.raises(
        ValueError, match="it contradicts itself, so no figure of it is shown:\nlatency: 8 tokens of 1 s"
    ):
        consistency.baseline(results([wrong]))


def written(path, cases):
    benchmarks = [
        {
            "fullname": case.name,
            "extra_info": {
                "kvgpt": record.record(
                    case.family, case.variant, case.canonical, case.workload, case.metrics, case.notes, case.details
                )
            },
        }
        for case in cases
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks, "machine_info": {"kvgpt": {"device": DEVICE}}}))
    return str(path)


SIZED = {"model": "nano", "weights": "shipped", "dtype": "float32", "device": "cpu", "batch_size": 1, "new_tokens": 8}
TIMED = {"total_latency": 0.8, "per_token_latency": 0.1}


def test_check_says_how_much_was_held_to_how_many_rules(capsys, tmp_path):
    path = written(tmp_path / "a.json", [made("latency", "v1", SIZED, TIMED)])
    assert cli.main(["check", path, path]) == 0
    assert capsys.readouterr().out == "consistent: 2 records, 3 rules applied\n"


def test_check_prints_each_contradiction_and_fails(capsys, tmp_path):
    sound = written(tmp_path / "a.json", [made("latency", "v1", SIZED, TIMED)])
    wrong = written(tmp_path / "b.json", [made("latency", "v1", SIZED, TIMED | {"total_latency": 1.0})])
    assert cli.main(["check", sound, wrong]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"{wrong}: latency: 8 tokens of 100 ms are not 1 s in total (latency v1)"
    assert last == "refused: 2 records, 3 rules applied"


def test_check_for_a_baseline_refuses_what_is_not_valid(capsys, tmp_path):
    decode = made("decode", "v1", {"device": "cpu"}, {"per_token_latency": 1e-3, "floor": 2e-3}, ["throttled"])
    path = written(tmp_path / "a.json", [decode])
    assert cli.main(["check", path]) == 0
    assert f"{path}: floor: not held to it, 1: not valid: throttled\n" in capsys.readouterr().out
    assert cli.main(["check", path, "--baseline"]) == 1
    assert "1 of 1 records are not valid, so it is no baseline: decode v1: throttled" in capsys.readouterr().out


def test_check_counts_what_is_let_off_a_rule(capsys, tmp_path):
    figures = {"per_token_latency": 1e-3, "floor": 2e-3}
    cases = [made("decode", name, {"device": "cpu"}, figures, ["throttled"]) for name in ("v1", "v2")]
    path = written(tmp_path / "a.json", cases)
    assert cli.main(["check", path]) == 0
    assert f"{path}: floor: not held to it, 2: not valid: throttled\n" in capsys.readouterr().out


def test_check_refuses_what_is_no_results_file(capsys, tmp_path):
    assert cli.main(["check", str(tmp_path / "nowhere.json")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_plot_draws_nothing_of_results_that_contradict_themselves(capsys, tmp_path):
    path = written(tmp_path / "a.json", [made("latency", "v1", SIZED, TIMED | {"total_latency": 1.0})])
    assert cli.main(["plot", path, "--out", str(tmp_path / "report")]) == 1
    assert "8 tokens of 100 ms are not 1 s in total (latency v1)" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_a_report_marks_what_is_not_valid_and_says_why(capsys, tmp_path):
    cases = [made("latency", "v1", SIZED, TIMED), made("latency", "v2", SIZED, TIMED, ["throttled | power cap"])]
    assert cli.main(["report", written(tmp_path / "a.json", cases), "--out", str(tmp_path / "report")]) == 0
    lines = (tmp_path / "report" / "summary.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| v")][:2] == ["v1", "v2 \\*"]
    assert any("throttled \\| power cap" in line for line in lines)
    assert "v2 *" in capsys.readouterr().out
