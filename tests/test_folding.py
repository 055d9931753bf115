"""Folding: one record a case from several passes, whose medians are the samples."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgpt import record, statistics
from kvgpt.measure.folding import fold
from kvgpt.record import metric


def entry(metrics, notes=(), data=(1.0,), name="a", **workload):
    made = record.record("latency", "v1", "dense", {"new_tokens": 8, **workload}, metrics, notes)
    return {
        "fullname": name,
        "group": "g",
        "stats": {"data": list(data), "iterations": 1, "rounds": len(data)},
        "extra_info": {"kvgpt": made},
    }


def timed(*samples):
    interval = statistics.median_interval(samples)
    figure = metric("total_latency", statistics.median(samples), interval=interval, samples=samples)
    return entry({"total_latency": figure}, data=samples)


def folded(*passes):
    (made,) = fold([{} if one is None else {one["fullname"]: one} for one in passes])
    record.check(made["extra_info"]["kvgpt"])
    return made["extra_info"]["kvgpt"]


samples = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=9)


@given(passes=st.lists(samples, min_size=1, max_size=9))
def test_the_passes_medians_are_the_samples(passes):
    figure = folded(*[timed(*one) for one in passes])["metrics"]["total_latency"]
    medians = [statistics.median(one) for one in passes]
    assert figure["processes"] == passes
    assert figure["value"] == statistics.median(medians)
    assert figure.get("interval") == (None if len(passes) < 6 else list(statistics.median_interval(medians)))
    assert (figure["unit"], figure["kind"], figure["better"]) == ("s", "measured", "lower")


def test_what_has_no_samples_gives_its_value():
    figure = folded(*[entry({"throughput": metric("throughput", value)}) for value in (9.0, 7.0, 8.0)])
    assert figure["metrics"]["throughput"]["processes"] == [[9.0], [7.0], [8.0]]
    assert figure["metrics"]["throughput"]["value"] == 8.0


def test_what_every_pass_finds_alike_keeps_the_spread_that_it_has_of_its_own():
    one = entry({"perplexity": metric("perplexity", 5.0, interval=(4.5, 5.5), stderr=0.25)})
    figure = folded(*[one] * 6)["metrics"]["perplexity"]
    assert figure["interval"] == [4.5, 5.5] and figure["stderr"] == 0.25, "of the text: passes say nothing of it"
    other = entry({"perplexity": metric("perplexity", 5.1, interval=(4.6, 5.6), stderr=0.25)})
    figure = folded(*[one] * 5, other)["metrics"]["perplexity"]
    assert figure["interval"] == [5.0, 5.1] and "stderr" not in figure
    assert "interval" not in folded(one, other)["metrics"]["perplexity"]


def test_what_is_modelled_has_no_processes():
    made = folded(*[entry({"floor": metric("floor", value, "modelled")}) for value in (0.1, 0.3, 0.2)])
    assert made["metrics"]["floor"] == {"value": 0.2, "unit": "s", "kind": "modelled", "better": "lower"}
    assert made["validity"] == {"ok": True, "notes": []}, "of bandwidths that each pass has measured"


@pytest.mark.parametrize("name", ["cache_bytes_formula", "flops"])
def test_what_follows_from_the_workload_must_not_differ(name):
    made = folded(*[entry({name: metric(name, value, "modelled")}) for value in (10, 10, 11)])
    assert made["validity"] == {"ok": False, "notes": [f"{name} differs between passes"]}


def test_fractions_of_measured_times_may():
    made = folded(
        *[entry({"fraction_of_floor": metric("fraction_of_floor", value, "modelled")}) for value in (0.4, 0.5)]
    )
    assert made["validity"]["ok"]


def test_it_is_valid_only_where_every_pass_was():
    made = folded(timed(1.0), entry({}, ["throttled", "shared"]), entry({}, ["shared"]))
    assert made["validity"] == {"ok": False, "notes": ["throttled", "shared"]}
    silent = timed(1.0)
    silent["extra_info"]["kvgpt"]["validity"]["ok"] = False
    assert not folded(timed(1.0), silent)["validity"]["ok"]


def test_a_case_or_a_figure_that_a_pass_lacks_is_named():
    assert folded(timed(1.0), None, timed(2.0))["validity"] == {"ok": False, "notes": ["missing from pass 2 of 3"]}
    assert folded(timed(1.0), entry({}))["validity"]["notes"] == ["no total_latency in pass 2"]


def test_a_workload_that_differs_is_named():
    made = folded(timed(1.0), entry({"total_latency": metric("total_latency", 1.0)}, memory_budget=9))
    assert made["validity"]["notes"] == ["workload memory_budget differs between passes"]


def test_the_seconds_are_those_of_all_rounds_and_the_order_is_the_first_passes():
    one = {name: entry({}, data=data, name=name) for name, data in (("a", [3.0, 1.0]), ("b", [1.0]))}
    two = {name: entry({}, data=data, name=name) for name, data in (("c", [9.0]), ("b", [2.0]), ("a", [2.0]))}
    before = deepcopy([one, two])
    made = fold([one, two])
    assert [one["fullname"] for one in made] == ["a", "b", "c"]
    assert made[0]["stats"]["data"] == [3.0, 1.0, 2.0]
    assert (made[0]["stats"]["median"], made[0]["stats"]["rounds"], made[0]["stats"]["iterations"]) == (2.0, 3, 1)
    assert [one, two] == before, "what is folded is left as it was"


def test_of_nothing_comes_nothing():
    assert fold([]) == fold([{}, {}]) == []


def test_pulses_are_those_of_all_passes():
    passes = [timed(1.0), timed(2.0), timed(3.0)]
    for one, seconds in zip(passes, (1.0, 5.0, 2.0), strict=True):
        one["extra_info"]["kvgpt"]["details"] = {"calm_share": 0.5, "pulse": {"cores": seconds}}
    pulses = [{"cores": 1.0}, {"cores": 5.0}, {"cores": 2.0}]
    assert folded(*passes)["details"] == {"calm_share": 0.5, "pulse": {"cores": 2.0}, "pulses": pulses}
    assert "pulse" not in folded(timed(1.0), passes[1]).get("details", {})
