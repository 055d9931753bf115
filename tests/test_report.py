"""The summary table, and what `kvgpt plot` writes and says."""

import itertools
import json

from kvgpt import cli, record, recorded
from kvgpt.record import metric
from kvgpt.report import table

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


def test_a_change_of_nothing_has_no_sign(tmp_path):
    assert "-0.000" not in table.summary(read(tmp_path))


def test_plot_writes_each_chart_in_three_forms_and_says_what_it_did_not_draw(tmp_path, capsys):
    path = tmp_path / "out.json"
    path.write_text(json.dumps(synthetic(families=("positions",))))
    assert cli.main(["plot", str(path), "--out", str(tmp_path / "report")]) == 0
    names = {f"positions_streamed.{suffix}" for suffix in ("png", "pdf", "csv")} | {"table.md"}
    assert {file.name for file in (tmp_path / "report").iterdir()} == names
    out = capsys.readouterr().out
    said = "not drawn: comparison_per_token_latency: no latency was measured: pytest benchmarks/bench_latency.py"
    assert said in out
    assert out.splitlines()[-1].startswith(
        f"wrote 4 files: {tmp_path / 'report' / 'table.md'}, and as PNG, PDF and CSV "
    )


def test_a_name_from_a_file_stays_in_the_directory_of_the_report(tmp_path, capsys):
    path = tmp_path / "out.json"
    path.write_text(json.dumps(synthetic(variants={"../../x\n$y_{": "x:Y"})))
    assert cli.main(["plot", str(path), "--out", str(tmp_path / "a" / "b")]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {"a", "out.json"}
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b"]
    assert all(line.count(": ") >= 2 for line in capsys.readouterr().out.splitlines() if line.startswith("not drawn"))
