"""The record: written strictly, read strictly."""

import json
import math

import pytest

from kvgpt import record, recorded, statistics

WORKLOAD = {"model": "nano", "batch_size": 1, "new_tokens": 8}


def one(**changes):
    made = record.record("latency", "v2", "int8", WORKLOAD, {"total_latency": record.metric("total_latency", 0.5)})
    return {**made, **changes}


def results(*records, **top):
    benchmarks = [{"fullname": f"bench_{number}", "extra_info": {"kvgpt": made}} for number, made in enumerate(records)]
    return {"benchmarks": benchmarks, "machine_info": {"kvgpt": {"device": {"kind": "cpu", "name": "a CPU"}}}, **top}


def written(tmp_path, data):
    path = tmp_path / "out.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_record_has_the_fixed_fields():
    made = record.record(
        "latency",
        "v2",
        "int8",
        WORKLOAD,
        {"throughput": record.metric("throughput", 10.0, interval=(9.0, 11.0), stderr=0.5, samples=[9.5, 10.5])},
        notes=["throttled"],
    )
    assert made == {
        "schema": 1,
        "family": "latency",
        "variant": "v2",
        "canonical": "int8",
        "workload": WORKLOAD,
        "metrics": {
            "throughput": {
                "value": 10.0,
                "unit": "token/s",
                "kind": "measured",
                "better": "higher",
                "interval": [9.0, 11.0],
                "stderr": 0.5,
                "processes": [[9.5, 10.5]],
            }
        },
        "validity": {"ok": False, "notes": ["throttled"]},
    }


def test_what_is_read_is_what_was_written(tmp_path):
    read = recorded.read(written(tmp_path, results(one(), one(variant="v1", canonical="dense"))))
    assert [case.variant for case in read.of("latency", "total_latency")] == ["v2", "v1"]
    assert read.device["name"] == "a CPU"
    assert read.cases[0].value("total_latency") == 0.5
    assert read.cases[0].value("perplexity") is None and read.cases[0].interval("total_latency") is None
    assert read.of("memory", "peak_memory") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2: this version reads schema 1"),
        ({"family": "speed"}, "family 'speed': known: latency"),
        ({"variant": 3}, "variant=3: expected str"),
        ({"workload": {"T": math.inf}}, "workload T=inf"),
        ({"workload": {"T": None}}, "workload T=None"),
        ({"metrics": {"x": 3}}, "metric x=3: expected an object"),
        (
            {"metrics": {"x": {"value": math.nan, "unit": "s", "kind": "measured", "better": "lower"}}},
            "expected finite numbers",
        ),
        (
            {"metrics": {"x": {"value": True, "unit": "s", "kind": "measured", "better": "lower"}}},
            "expected finite numbers",
        ),
        (
            {"metrics": {"x": {"value": 1, "unit": "ms", "kind": "measured", "better": "lower"}}},
            "unit='ms': known: s, B",
        ),
        ({"metrics": {"x": {"value": 1, "unit": "s", "kind": "guessed", "better": "lower"}}}, "kind='guessed'"),
        ({"metrics": {"x": {"value": 1, "unit": "s", "kind": "measured"}}}, "better=None"),
        ({"metrics": {"x": {"value": 1, "interval": [0, math.inf]}}}, "expected finite numbers"),
        ({"validity": {"ok": "yes", "notes": []}}, "validity"),
        ({"details": {"pulse": 3}}, "details pulse=3: expected seconds by kind of work"),
        ({"details": {"pulse": {"cores": 0}}}, "details pulse"),
        ({"details": {"pulses": {"cores": 1.0}}}, "details pulses"),
        ({"details": {"pulses": [{"cores": "fast"}]}}, "details pulses"),
    ],
)
def test_what_is_no_record_is_refused_when_written_and_when_read(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        record.check(one(**changes))
    path = written(tmp_path, json.dumps(results(one(**changes))).replace("NaN", "1e999").replace("Infinity", "1e999"))
    with pytest.raises(ValueError, match=r"out\.json: (benchmark 0: record|.* is beyond the largest number)"):
        recorded.read(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "not a results file"),
        ('{"benchmarks": [', "not a results file"),
        ("[]", "expected an object, found list"),
        ("{}", "expected 'benchmarks' and 'machine_info'"),
        ('{"machine_info": {}, "benchmarks": [], "benchmarks": []}', "key 'benchmarks' is there twice"),
        ('{"machine_info": {}, "benchmarks": [NaN]}', "NaN is no JSON number"),
        ("[" * 200_000, "not a results file"),
        ('{"machine_info": {}, "benchmarks": [3, {"extra_info": {}}]}', "2 benchmarks, none with a record"),
        (
            '{"machine_info": {}, "benchmarks": [{"extra_info": {"kvgpt": [1]}}]}',
            "benchmark 0: record: expected an object",
        ),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        recorded.read(written(tmp_path, data))


def test_a_file_too_large_to_be_one_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(recorded.LARGEST_FILE + 1)
    with pytest.raises(ValueError, match="bytes: the limit is"):
        recorded.read(path)


def test_the_interval_of_a_median_holds_it_as_often_as_it_says():
    import random

    for n in (7, 10, 25):
        drawn = random.Random(n)
        hits = 0
        for _ in range(2000):
            low, high = statistics.median_interval([drawn.expovariate(1) for _ in range(n)])
            hits += low <= math.log(2) <= high
        assert hits / 2000 >= 0.94, f"{n} samples: {hits / 2000}"


@pytest.mark.parametrize(("n", "places"), [(5, None), (6, (0, 5)), (10, (1, 8))])
def test_the_interval_takes_the_samples_that_the_binomial_allows(n, places):
    assert statistics.median_interval(range(n)) == places
    assert statistics.normal_interval(1.0, 0.5) == pytest.approx((0.02, 1.98), abs=0.001)
