"""``kvgpt report``: every name of the original research from one results file, twice to the same byte or not at all."""

import json
import os
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
import synthetic

from kvgpt import cli, recorded
from kvgpt.report import drawing, gate, page, points, publication, tables
from kvgpt.report.charts import CHARTS, charts
from kvgpt.report.gate.shown import OPEN

NAMES = [
    "comparison_per_token_latency",
    "KEY_comparison_vram",
    "comparison_perplexity",
    "comparison_perplexity_degradation",
    "pareto_memory_latency",
    "per_phase_pie_v0_v1",
    "comparison_total_latency",
    "comparison_total_latency_ci",
    "comparison_per_token_latency_ci",
    "comparison_v0_vs_v1_latency",
    "v0_v1_total_latency_projection",
    "comparison_vram",
    "vram_growth_v0_v1",
    "vram_bar_chart",
    "comparison_throughput",
    "comparison_throughput_ci",
    "comparison_speedup",
    "comparison_speedup_vs_v1",
    "comparison_memory_efficiency",
    "per_phase_breakdown_bar",
    "per_phase_breakdown_stacked",
    "per_phase_breakdown_with_insights",
    "per_phase_pie_improved",
    "comparison_max_batch_capacity",
    "comparison_peak_memory_at_max_batch",
    "tradeoff_memory_latency_T1024",
    "comparison_kv_variants_latency",
    "kv_variants_per_token_bar_T1024",
    "kv_variants_throughput_bar_T1024",
    "kv_variants_vram_bar_T1024",
    "comparison_extrapolation",
    *(f"{what}_vs_T_v{number}" for what in ("latency_total", "latency_per_token", "vram") for number in range(5)),
]
HOSTILE = "=HYPERLINK(1)</script><script>alert(1)</script>$\\input{x}$"


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def few(families=("latency", "perplexity"), lengths=(32,), **factors):
    """A document with these families alone, and metrics in multiples of what they are."""
    document = synthetic.document(variants=("v1", "v2"), lengths=lengths)
    cases = [one for one in document["benchmarks"] if one["extra_info"]["kvgpt"]["family"] in families]
    for figures in (one["extra_info"]["kvgpt"]["metrics"] for one in cases):
        for name in factors.keys() & figures.keys():
            figures[name]["value"] *= factors[name]
    return {**document, "benchmarks": cases}


class Tags(HTMLParser):
    """The names of a page's elements, as a browser finds them."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


def written(path, document):
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Of every variant at all 16 lengths, and the seconds of a processor that it took, without a tracer's."""
    folder = tmp_path_factory.mktemp("report")
    results = synthetic.write(folder / "results.json")
    untraced = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
    before = os.times()
    report = [sys.executable, "-m", "kvgpt", "report", results, "--out", folder / "out"]
    assert subprocess.run(report, env=untraced, check=False).returncode == 0
    spent = [after - begun for after, begun in zip(os.times(), before, strict=True)]
    return folder / "out", spent[2] + spent[3]  # of processes that have ended


def test_every_figure_of_the_original_is_drawn_within_a_minute(published):
    folder, seconds = published
    assert len(NAMES) == 46
    for kind, suffix in (("figures", "png"), ("figures", "pdf"), ("points", "csv")):
        lacking = [name for name in NAMES if not (folder / kind / f"{name}.{suffix}").is_file()]
        assert lacking == [], suffix
    assert seconds < 60


def test_every_name_stands_in_the_one_table():
    listed = {one.name for one in CHARTS}
    for name in NAMES:
        patterns = {
            name,
            name.replace("T1024", "T{T}"),
            *(name.replace(f"T_v{number}", "T_{variant}") for number in range(5)),
        }
        assert patterns & listed, name


def test_every_table_is_written(published):
    folder, _ = published
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "index.html", "benchmark_tables.tex", "summary.md", "perplexity_table.md", "metrics_summary.json"
    }  # fmt: skip
    assert {"summary.csv", "use_cases.csv", "break_even.csv"} <= {path.name for path in (folder / "tables").iterdir()}


def one_of_each_form(made):
    """As few charts as have every form between them that any of the charts has."""
    forms = [{series.form for panel in chart.panels for series in panel.series} for chart in made]
    lacking, kept = set().union(*forms), []
    while lacking:
        place = max(range(len(made)), key=lambda place: len(forms[place] & lacking))
        kept.append(made[place])
        lacking -= forms[place]
    return kept


def test_a_second_run_writes_the_same_bytes(published, tmp_path):
    folder, _ = published
    again = recorded.read(folder.parent / "results.json")
    made, missing = charts(again)
    (tmp_path / "figures").mkdir()
    drawing.draw(one_of_each_form(made), tmp_path / "figures")
    (tmp_path / "points").mkdir()
    points.write(made, tmp_path / "points")
    tables.write(again, tmp_path)
    page.write(tmp_path / "index.html", again, made, missing, tables.every(again), publication.verdict(again))
    first, second = everything(folder), everything(tmp_path)
    assert all(name.startswith("figures/") for name in first.keys() - second.keys()), "all else is written twice"
    assert [name for name in second if second[name] != first[name]] == []


def test_the_verdict_comes_first_and_a_regression_before_it(tmp_path):
    families = ("latency", "memory", "capacity", "perplexity")
    results = recorded.read(written(tmp_path / "results.json", few(families)))
    said = publication.verdict(results)
    assert said.headline == f"{len(results.cases)} cases, consistent, all valid" and said.tone == "good"
    assert any(line.startswith("Production inference: v") for line in said.lines)
    better = written(tmp_path / "base.json", few(families, perplexity=0.9))
    said = publication.verdict(results, gate.compare(recorded.read(better), results))
    assert said.headline == f"against {better}: worse: 4 WORSE, 14 SAME" and said.tone == "poor"


@pytest.mark.parametrize(("factor", "tone"), [(1.0, "good"), (1.15, "fair"), (1.3, "poor"), (0.7, "good")])
def test_a_verdict_looks_as_good_as_the_comparison_is(tmp_path, factor, tone):
    results, slower = (
        recorded.read(written(tmp_path / f"{name}.json", few(("latency",), per_token_latency=times)))
        for name, times in (("base", 1.0), ("new", factor))
    )
    assert publication.verdict(slower, gate.compare(results, slower)).tone == tone


def test_the_page_says_what_to_do_about_what_is_left_open(tmp_path):
    base, new = (
        recorded.read(written(tmp_path / f"{name}.json", few(("latency",), per_token_latency=times)))
        for name, times in (("base", 1.0), ("new", 1.15))
    )
    publication.publish(new, tmp_path / "out", (), gate.compare(base, new))
    assert OPEN in (tmp_path / "out" / "index.html").read_text()


def test_the_page_has_the_regression_before_the_verdict(tmp_path):
    results = written(tmp_path / "results.json", few(("perplexity",)))
    better = written(tmp_path / "base.json", few(("perplexity",), perplexity=0.9))
    out = tmp_path / "out"
    assert cli.main(["report", str(results), "--base", str(better), "--out", str(out)]) == 0
    shown = (out / "index.html").read_text()
    assert shown.index("worse: 4 WORSE") < shown.index("Production inference")


def test_what_contradicts_itself_is_not_published(capsys, tmp_path):
    document = few(("memory",))
    document["benchmarks"][0]["extra_info"]["kvgpt"]["metrics"]["cache_bytes"]["value"] *= 2
    wrong = written(tmp_path / "wrong.json", document)
    assert cli.main(["report", str(wrong), "--out", str(tmp_path / "out")]) == 1
    assert "nothing was written" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{", '{"benchmarks": [NaN]}', '{"a": 1, "a": 1}', "[" * 9999])
@pytest.mark.parametrize("command", ["report", "plot"])
def test_a_broken_file_is_one_line_and_leaves_no_folder(capsys, tmp_path, command, text):
    broken = tmp_path / "broken.json"
    broken.write_text(text)
    started = time.process_time()
    assert cli.main([command, str(broken), "--out", str(tmp_path / "out")]) == 2
    assert time.process_time() - started < 1 and not (tmp_path / "out").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert str(broken) in line


def test_markup_and_formulas_in_names_do_nothing(tmp_path):
    document = few(("memory", "perplexity"), lengths=(32, 64))
    document["machine_info"]["kvgpt"]["device"]["name"] = HOSTILE
    for benchmark in document["benchmarks"]:
        made = benchmark["extra_info"]["kvgpt"]
        benchmark["fullname"] += HOSTILE
        if made["variant"] == "v2":
            made["variant"] = made["canonical"] = HOSTILE
    results = written(tmp_path / "results.json", document)
    assert cli.main(["report", str(results), "--out", str(tmp_path / "out")]) == 0
    files = everything(tmp_path / "out")
    tags = Tags()
    tags.feed(files["index.html"].decode())
    assert tags.found.count("script") == 2, "the data and the program, nothing else"
    assert b"\\input{x}" not in files["benchmark_tables.tex"]
    for name, content in files.items():
        assert ".." not in name and "<" not in name
        if name.endswith(".csv"):
            assert not any(
                cell.startswith(("=", '"=')) for line in content.decode().splitlines() for cell in line.split(",")
            )


def test_a_report_imports_neither_torch_nor_the_model(tmp_path):
    results = written(tmp_path / "results.json", few(("perplexity",)))
    code = (
        "import sys; from kvgpt import cli; "
        f"code = cli.main(['report', {str(results)!r}, '--out', {str(tmp_path / 'out')!r}]); "
        "sys.exit(code or [name for name in ('torch', 'kvgpt.model', 'kvgpt.engine') if name in sys.modules] or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_has_no_data_is_listed_with_what_would_produce_it():
    made, missing = charts(synthetic.results(variants=("v1",), lengths=(32,)))
    assert made and all("pytest benchmarks/bench_" in line for line in missing)
    assert any(line.startswith("comparison_v0_vs_v1_latency: ") for line in missing)
