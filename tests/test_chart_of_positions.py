"""The chart of streams past the learned positions: a curve for each policy, hollow where it is approximate."""

from pathlib import Path

import pytest

from kvgpt import record, recorded
from kvgpt.record import metric
from kvgpt.report.chart import Missing
from kvgpt.report.charts import charts, positions

STREAMS = (("v1", "recompute:128"), ("dense+window", "shift:128"), ("v1", "error"))


def streamed(streams=STREAMS, lengths=(512, 128, 256), model="nano", without=(), **interval):
    """Results of ``streams``: perplexity 3 + T / 256, steps of 1 ms, caches of 1 MB."""
    cases = []
    for variant, policy in streams:
        for length in lengths:
            workload = {"model": model, "weights": "pretrained", "device": "cpu", "dtype": "float32"}
            workload |= {"positions": policy, "approximate": policy.startswith("shift"), "block_size": 256}
            workload |= {"new_tokens": length, "batch_size": 4 if length < 512 else 1}
            figures = {
                "perplexity_at_end": metric("perplexity_at_end", 3.0 + length / 256, **interval),
                "per_token_latency": metric("per_token_latency", 1e-3),
                "cache_bytes": metric("cache_bytes", 1e6),
            }
            made = {name: figure for name, figure in figures.items() if name not in without}
            one = record.record("positions", variant, variant, workload, made)
            name = f"{variant} {policy} {length}"
            fields = (recorded.Workload(workload, name), one["metrics"], True, (), {})
            cases.append(recorded.Case(name, "positions", variant, variant, *fields))
    return recorded.Results(Path("streams.json"), {}, tuple(cases))


def test_each_policy_is_a_curve_by_length_hollow_where_it_is_approximate():
    chart = positions.streamed(streamed())
    quality, latency, held = chart.panels
    curves = {series.name: series for series in quality.series}
    assert list(curves) == ["v1, recompute", "dense+window, shift", "v1"]
    assert [(point.x, point.y) for point in curves["v1"].points] == [(128, 3.5), (256, 4.0), (512, 5.0)]
    assert [series.faint for series in quality.series] == [False, True, False]
    assert [series.variant for series in quality.series] == ["v1", "dense+window", "v1"]
    assert [point.batch_size for point in curves["v1"].points] == [4, 4, 1]
    assert {point.y for panel in (latency, held) for series in panel.series for point in series.points} == {1.0}


def test_the_axes_are_the_tokens_streamed_and_what_they_cost():
    panels = positions.streamed(streamed()).panels
    assert {(panel.x.label, panel.x.scale, panel.x.ticks) for panel in panels} == {
        ("tokens streamed T", "log2", (128.0, 256.0, 512.0))
    }
    assert [(panel.y.label, panel.y.scale, panel.y.low) for panel in panels] == [
        ("perplexity of the last quarter context", "log", None),
        ("latency of a step at T (ms)", "linear", 0.0),
        ("cache (MB)", "linear", 0.0),
    ]
    assert {rule.at for panel in panels for rule in panel.rules} == {256.0}


def test_intervals_are_there_where_they_were_measured_and_only_there():
    quality, latency, _ = positions.streamed(streamed(lengths=(128,), interval=(3.0, 4.0))).panels
    assert {(point.low, point.high) for series in quality.series for point in series.points} == {(3.0, 4.0)}
    assert {(point.low, point.high) for series in latency.series for point in series.points} == {(None, None)}


def test_what_is_hollow_is_explained_where_something_is():
    assert positions.streamed(streamed()).insights
    assert positions.streamed(streamed(streams=[("v1", "error")])).insights == ()


def test_what_was_not_measured_has_no_panel_and_models_have_their_own():
    panels = positions.streamed(streamed(without=("cache_bytes",))).panels
    assert [panel.y.label for panel in panels] == [axis.label for _, _, axis in positions.METRICS[:2]]
    both = streamed().cases + streamed(model="nano-rotary").cases
    chart = positions.streamed(recorded.Results(Path("both.json"), {}, both))
    assert [panel.title.split()[0] for panel in chart.panels] == ["nano"] * 3 + ["nano-rotary"] * 3


def test_without_a_stream_the_catalogue_says_what_would_measure_one():
    nothing = recorded.Results(Path("nothing.json"), {}, ())
    with pytest.raises(Missing):
        positions.streamed(nothing)
    assert any("positions_streamed" in line and "bench_positions.py" in line for line in charts(nothing)[1])
