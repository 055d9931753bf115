"""Figures and table: from a results file, the same bytes each time, and what is missing said."""

import itertools
import json

import pytest

from kvgpt import record, recorded
from kvgpt.record import metric
from kvgpt.report import figures, table

VARIANTS = {"v0": "none", "v1": "dense", "v2": "int8", "v3": "dense+cla2"}
CHANGE = {"v0": 0.0, "v1": 0.0, "v2": 0.004, "v3": 0.9}


def synthetic(families=("latency", "memory", "perplexity", "positions"), batches=(1,), variants=VARIANTS):
    workload = {"model": "nano", "weights": "shipped", "device": "cpu", "dtype": "float32"}
    made = []
    for (place, (name, canonical)), length, batch in itertools.product(
        enumerate(variants.items()), (32, 64, 128), batches
    ):
        sized = workload | {"batch_size": batch, "new_tokens": length}
        seconds = 1e-3 * (1 + place) * length
        if "latency" in families:
            per_token = metric(
                "per_token_latency", seconds / length, interval=(0.9 * seconds / length, 1.1 * seconds / length)
            )
            total = metric("total_latency", seconds, interval=(0.9 * seconds, 1.1 * seconds))
            made.append(("latency", name, canonical, sized, {"per_token_latency": per_token, "total_latency": total}))
        if "memory" in families:
            held = {
                "peak_memory": metric("peak_memory", 7e6 + length * (5e3 - 1e3 * place)),
                "cache_bytes": metric("cache_bytes", length * (5000 - 1000 * place)),
            }
            made.append(("memory", name, canonical, sized, held))
    for (name, canonical), mode in itertools.product(variants.items(), ("teacher_forced", "autoregressive")):
        change = CHANGE.get(name, 0.1)
        quality = {
            "perplexity": metric("perplexity", 3.0 * (1 + change), interval=(2.9 * (1 + change), 3.1 * (1 + change))),
            "perplexity_change": metric("perplexity_change", change, interval=(change - 0.001, change + 0.001)),
        }
        if "perplexity" in families:
            made.append(("perplexity", name, canonical, workload | {"mode": mode, "scored_tokens": 4096}, quality))
    for (variant, policy), length in itertools.product(
        (("v1", "recompute:128"), ("dense+window", "shift:128")), (128, 256, 512)
    ):
        streamed = {
            "perplexity_at_end": metric("perplexity_at_end", 3.0 + length / 256),
            "per_token_latency": metric("per_token_latency", 1e-3),
            "cache_bytes": metric("cache_bytes", 1e6),
        }
        where = {"positions": policy, "approximate": policy.startswith("shift"), "block_size": 256}
        if "positions" in families:
            made.append(("positions", variant, variant, workload | where | {"new_tokens": length}, streamed))
    benchmarks = [
        {"fullname": str(number), "extra_info": {"kvgpt": record.record(*one)}} for number, one in enumerate(made)
    ]
    return {
        "benchmarks": benchmarks,
        "machine_info": {"kvgpt": {"device": {"kind": "cpu", "name": "a CPU", "torch": "2.13"}}},
    }


def read(tmp_path, **options):
    path = tmp_path / "out.json"
    path.write_text(json.dumps(synthetic(**options)))
    return recorded.read(path)


def test_every_figure_is_drawn_twice_as_png_and_pdf_to_the_same_bytes(tmp_path):
    results = read(tmp_path, batches=(1, 8))
    both = []
    for directory in (tmp_path / "a", tmp_path / "b"):
        directory.mkdir()
        written, missing = figures.draw(results, directory)
        assert missing == []
        both.append({path.name: path.read_bytes() for path in written})
    assert set(both[0]) == {
        f"{name}.{suffix}"
        for name in (
            "comparison_per_token_latency",
            "KEY_comparison_vram",
            "comparison_perplexity",
            "comparison_perplexity_degradation",
            "tradeoff_memory_latency_T128",
            "positions_streamed",
        )
        for suffix in ("png", "pdf")
    }
    assert both[0] == both[1]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(both[0]), (
        "something half-written was left"
    )


@pytest.mark.parametrize(
    ("families", "absent"),
    [
        (("latency",), ["memory", "perplexity", "perplexity_change", "tradeoff", "positions"]),
        (("perplexity",), ["per_token_latency", "memory", "tradeoff", "positions"]),
    ],
)
def test_a_figure_without_data_says_what_would_produce_it(tmp_path, families, absent):
    _, missing = figures.draw(read(tmp_path, families=families), tmp_path)
    assert [line.partition(":")[0] for line in missing] == absent
    assert all("pytest benchmarks/bench_" in line for line in missing)


def test_what_was_streamed_is_one_line_a_policy_hollow_where_it_is_approximate(tmp_path):
    _, drawn = figures.positions(read(tmp_path))
    quality, latency, held = drawn.axes
    lines = {line.get_label(): line for line in quality.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["v1, recompute", "dense+window, shift"]
    assert lines["v1, recompute"].get_ydata().tolist() == [3.5, 4.0, 5.0]
    assert lines["dense+window, shift"].get_markerfacecolor() == "white" != lines["v1, recompute"].get_markerfacecolor()
    assert latency.lines[0].get_ydata().tolist() == [1.0, 1.0, 1.0] and held.lines[0].get_ydata().tolist() == [1.0] * 3


def test_lines_are_where_the_data_are(tmp_path):
    _, drawn = figures.per_token_latency(read(tmp_path))
    (axes,) = drawn.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["v2"].get_xdata().tolist() == [32, 64, 128]
    assert lines["v2"].get_ydata() == pytest.approx([3.0, 3.0, 3.0])
    assert axes.get_xscale() == "log" and axes.get_ylabel() == "per-token latency (ms)"
    markers = {line.get_marker() for line in axes.lines}
    assert len(markers) == len(VARIANTS), "variants are told apart by colour alone"


def test_the_frontier_joins_what_nothing_beats(tmp_path):
    _, drawn = figures.tradeoff(read(tmp_path))
    (axes,) = drawn.axes
    frontier = next(line for line in axes.lines if line.get_label() == "frontier")
    peaks = [7e6 + 128 * (5e3 - 1e3 * place) for place in range(4)]
    assert frontier.get_xdata().tolist() == pytest.approx([peak / 1e6 for peak in reversed(peaks)])


def test_the_changes_axis_names_a_tenth_of_a_percent(tmp_path):
    _, drawn = figures.perplexity_change(read(tmp_path))
    drawn.canvas.draw()
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert {"0", "0.1", "1", "10"} <= set(labels)
    assert len(labels) == len(set(labels)), labels


def test_points_that_coincide_are_labelled_once(tmp_path):
    assert figures._clusters({"a": (1.0, 1.0), "b": (5.0, 9.0), "c": (1.01, 1.02), "d": (5.0, 1.0)}) == [
        ["a", "c"],
        ["b"],
        ["d"],
    ]
    assert figures._clusters({"alone": (3.0, 3.0)}) == [["alone"]]
    summary = table.summary(read(tmp_path))
    assert "-0.000" not in summary


def test_the_table_has_a_row_a_variant_and_its_ratios(tmp_path):
    lines = table.summary(read(tmp_path)).splitlines()
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[1:-1]]
        for line in lines
        if line.startswith("| v")
    }
    assert list(rows) == ["variant", *VARIANTS]
    v3 = dict(zip(rows["variant"], rows["v3"], strict=False))
    assert v3["cache"] == "dense+cla2" and v3["ms/token"] == "4.000" and v3["time/v1"] == "2.000"
    assert v3["bytes/v1"] == "0.500" and v3["change"] == "+90.000 ± 0.100 %"
    assert any("nano (shipped), float32 on cpu: B = 1, T = 128" in line for line in lines)


def test_what_was_not_measured_is_a_dash(tmp_path):
    rows = [
        line for line in table.summary(read(tmp_path, families=("memory",))).splitlines() if line.startswith("| v1 ")
    ]
    assert len(rows) == 1 and rows[0].count(" - ") == 2


def test_names_from_a_file_cannot_break_the_table(tmp_path):
    summary = table.summary(read(tmp_path, variants={"a|b\n<script>": "x:Y"}))
    assert "<script>" not in summary and "a\\|b &lt;script>" in summary


def test_only_perplexity_still_makes_a_table(tmp_path):
    assert "| v2 " in table.summary(read(tmp_path, families=("perplexity",)))
