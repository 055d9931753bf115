"""The gate: a word for each figure of each case, and the exit code that follows."""

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from changed_results import FEW, changed, in_passes, scaled, words

from kvgpt import recorded
from kvgpt.record import metric
from kvgpt.report import gate
from kvgpt.report.gate import limits, times


@pytest.fixture(scope="module")
def base():
    return synthetic.results(**FEW)


def test_the_same_results_are_the_same(base):
    found = gate.compare(base, base)
    assert words(found) == {} and found.exit_code(strict=True) == 0
    assert {one.metric for one in found.judged if one.case.startswith("memory v1")} == {
        "weights_bytes", "cache_bytes", "transient_bytes", "steady_memory", "peak_memory"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("factor", "word"),
    [(1.3, "WORSE"), (1.21, "WORSE"), (1.19, "UNDECIDED"), (1.11, "UNDECIDED"), (1.09, "SAME"), (0.91, "SAME"),
     (0.85, "UNDECIDED"), (0.7, "BETTER")],
)  # fmt: skip
def test_of_one_pass_only_large_changes_count(base, factor, word):
    new = changed(base, scaled("per_token_latency", factor), "latency", "v2", new_tokens=64)
    found = gate.compare(base, new)
    assert words(found) == ({} if word == "SAME" else {("latency v2 64", "per_token_latency"): word})
    assert found.exit_code() == (word == "WORSE") and found.exit_code(strict=True) == (word in ("WORSE", "UNDECIDED"))


def test_of_five_passes_a_tenth_is_found_and_equals_are_the_same(base):
    before = in_passes(base, 5)
    assert gate.compare(before, in_passes(base, 5, seed=1)).exit_code() == 0
    slower, faster = (gate.compare(before, in_passes(base, 5, factor, seed=1)) for factor in (1.1, 0.9))
    timed = {(case.name, "per_token_latency") for case in base.cases if case.family == "latency"}
    assert words(slower) == dict.fromkeys(timed, "WORSE") and slower.exit_code() == 1
    assert words(faster) == dict.fromkeys(timed, "BETTER") and faster.exit_code() == 0


@pytest.mark.parametrize("paired", [True, False])
def test_the_change_that_is_shown_is_that_of_the_figures_beside_it(base, paired):
    def passed(value, *times):
        figure = {"value": value, "processes": [[time] for time in times]}
        latency = "per_token_latency"
        return changed(base, lambda metrics: metrics | {latency: metrics[latency] | figure}, "latency")

    before, after = passed(1.0, 1.0, 1.0, 1.0, 4.0, 4.0), passed(2.0, 1.0, 1.0, 2.0, 2.0, 2.0)
    judged = [one for one in gate.compare(before, after, paired=paired).judged if one.interval]
    assert judged and all(one.new / one.base == pytest.approx(one.ratio) for one in judged)
    assert judged[0].ratio == pytest.approx(2 ** (-1 / 5)), "though the medians say 2"


def test_four_passes_decide_as_one_does(base):
    found = gate.compare(in_passes(base, 4), in_passes(base, 4, 1.15))
    assert set(words(found).values()) == {"UNDECIDED"}


@pytest.mark.parametrize(
    ("family", "name", "factor", "word"),
    [
        ("memory", "peak_memory", 1 + 1e-6, "WORSE"),
        ("memory", "cache_bytes", 0.5, "BETTER"),
        ("capacity", "max_batch", 0.99, "WORSE"),
        ("capacity", "max_batch", 1.01, "BETTER"),
        ("perplexity", "perplexity", 1.01, "WORSE"),
        ("perplexity", "perplexity", 1.004, "SAME"),
        ("perplexity", "perplexity", 0.99, "BETTER"),
    ],
)
def test_what_is_counted_is_compared_exactly_and_by_its_direction(base, family, name, factor, word):
    found = gate.compare(base, changed(base, scaled(name, factor), family, "v2"))
    assert set(words(found).values()) == ({word} - {"SAME"})
    assert found.exit_code() == (word == "WORSE")


def test_where_another_batch_fits_nothing_else_of_capacity_is_judged(base):
    larger = changed(base, scaled("max_batch", 2), "capacity")
    found = gate.compare(base, changed(larger, scaled("peak_memory", 1.5), "capacity"))
    assert set(words(found).values()) == {"BETTER"}


def test_what_went_missing_is_a_regression(base):
    without = replace(base, cases=tuple(case for case in base.cases if (case.family, case.variant) != ("phases", "v2")))
    found = gate.compare(base, without)
    assert set(words(found).values()) == {"MISSING"} and len(words(found)) == 2 and found.exit_code() == 1
    back = gate.compare(without, base)
    assert back.exit_code() == 0 and len(back.only_new) == 2

    def no_peak(metrics):
        return {name: figure for name, figure in metrics.items() if name != "peak_memory"}

    found = gate.compare(base, changed(base, no_peak, "memory", "v1", new_tokens=32))
    assert words(found) == {("memory v1 32", "peak_memory"): "MISSING"} and found.exit_code() == 1


def test_other_devices_are_not_compared(base):
    other = replace(base, device={**base.device, "name": "another GPU"})
    with pytest.raises(ValueError, match="different devices: name an imagined GPU, another GPU"):
        gate.compare(base, other)
    newer = gate.compare(base, replace(base, device={**base.device, "torch": "2.12"}))
    assert newer.exit_code() == 0 and newer.remarks == ("not the same on both sides: torch 2.11, 2.12",)


def test_other_texts_are_not_compared(base):
    cases = tuple(
        replace(case, workload={**case.workload, "corpus_sha256": "1" * 64}) if case.family == "perplexity" else case
        for case in base.cases
    )
    found = gate.compare(base, replace(base, cases=cases))
    assert set(words(found).values()) == {"INCOMPARABLE"} and found.exit_code() == 2
    assert f"corpus_sha256 {'0' * 64}, {'1' * 64}" in next(one.reason for one in found.judged if one.word != "SAME")


@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)])
def test_what_is_not_valid_is_not_compared(base, sides):
    spoiled = changed(base, lambda metrics: metrics, "latency")
    first = next(case for case in base.cases if case.family == "latency")
    cases = tuple(replace(case, valid=False, notes=("throttled",)) if case is first else case for case in base.cases)
    spoiled = replace(base, cases=cases)
    found = gate.compare(*(spoiled if side else base for side in sides))
    assert words(found) == {(first.name, None): "INCOMPARABLE"} and found.exit_code() == 2
    assert "is not valid: throttled" in found.judged[0].reason or any("throttled" in one.reason for one in found.judged)


def test_a_regression_weighs_more_than_what_cannot_be_compared(base):
    slower = changed(base, scaled("perplexity", 2), "perplexity")
    cases = tuple(
        replace(case, valid=False, notes=("x",)) if case.family == "memory" else case for case in slower.cases
    )
    assert gate.compare(base, replace(base, cases=cases)).exit_code() == 1


def test_a_case_that_is_there_twice_is_refused(base):
    with pytest.raises(ValueError, match="is there 2 times: keep one"):
        gate.compare(base, replace(base, cases=(*base.cases, base.cases[3])))


def test_limits_given_replace_the_usual_and_the_last_that_fits_counts(base):
    new = changed(base, scaled("per_token_latency", 1.3), "latency", "v2")
    assert gate.compare(base, new, [gate.parse("per_token_latency:20%")]).exit_code() == 0
    some = [gate.parse("per_token_latency:20%"), gate.parse("per_token_latency[v2 32]:5%")]
    assert words(gate.compare(base, new, some)) == {("latency v2 32", "per_token_latency"): "WORSE"}
    assert words(gate.compare(base, new, some[::-1])) == {}
    throughput = [gate.parse("throughput:5%")]
    assert set(words(gate.compare(base, changed(base, scaled("throughput", 0.7), "latency"), throughput)).values()) == {
        "WORSE"
    }


def test_a_limit_for_what_no_case_has_is_refused(base):
    with pytest.raises(ValueError, match="no case has kl_divergence"):
        gate.compare(base, base, [gate.parse("kl_divergence:5%")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("per_token_latency:5%", limits.Limit("per_token_latency", 0.05)),
        ("peak_memory:2%+1MiB", limits.Limit("peak_memory", 0.02, 2.0**20)),
        ("peak_memory:3 kB", limits.Limit("peak_memory", 0.0, 3000.0)),
        ("max_batch:-2%", limits.Limit("max_batch", 0.02)),
        ("max_batch:3", limits.Limit("max_batch", 0.0, 3.0)),
        ("perplexity:0.5%", limits.Limit("perplexity", 0.005)),
        ("cache_bytes:0", limits.Limit("cache_bytes")),
        ("total_latency:10us+1%", limits.Limit("total_latency", 0.01, pytest.approx(1e-5))),
        ("total_latency[bench[x]*v2]:1%", limits.Limit("total_latency", 0.01, 0.0, "*bench[x]*v2*")),
    ],
)
def test_limits_are_read(text, expected):
    assert gate.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("per_token_latency", "expected METRIC:LIMIT"),
        ("latency:5%", "unknown metric 'latency': known: total_latency"),
        ("per_token_latency:-5%", "better lower: name by how much it may rise, 5%"),
        ("peak_memory:5 s", "known units of peak_memory: %, B, kB"),
        ("perplexity:1MB", "known units of perplexity: %"),
        ("peak_memory:much", "'much' is no amount"),
        ("peak_memory:1e999%", "known units"),
        ("", "expected METRIC:LIMIT"),
    ],
)
def test_limits_that_mean_nothing_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        gate.parse(text)


def test_a_metric_of_zero_is_compared_without_a_ratio(base):
    def zero(metrics):
        return metrics | {"transient_bytes": metric("transient_bytes", 0)}

    before = changed(base, zero, "memory")
    found = gate.compare(before, base)
    assert set(words(found).values()) == {"WORSE"} and all(
        one.ratio is None for one in found.judged if one.word == "WORSE"
    )


def test_results_files_are_compared_as_read(tmp_path):
    base = recorded.read(synthetic.write(tmp_path / "base.json", **FEW))
    new = recorded.read(synthetic.write(tmp_path / "new.json", **FEW))
    found = gate.compare(base, new)
    assert found.exit_code(strict=True) == 0 and found.base == str(Path(tmp_path / "base.json"))


@pytest.mark.parametrize(
    ("ratio", "interval", "word"),
    [
        (1.06, (1.001, 1.12), "WORSE"),
        (1.06, (0.999, 1.12), "UNDECIDED"),
        (1.04, (1.01, 1.07), "UNDECIDED"),
        (1.03, (1.01, 1.049), "SAME"),
        (0.97, (0.953, 0.99), "SAME"),
        (0.97, (0.92, 1.02), "UNDECIDED"),
        (0.94, (0.89, 0.999), "BETTER"),
        (0.94, (0.88, 1.001), "UNDECIDED"),
    ],
)
def test_an_interval_decides_by_where_it_lies(base, monkeypatch, ratio, interval, word):
    monkeypatch.setattr(times, "ratios", lambda cases, *_: [times.Change(ratio, interval)] * len(cases))
    passes = in_passes(base, 5)
    found = gate.compare(passes, passes)
    assert {one.word for one in found.judged if one.interval} == {word}
