"""Progress: one line a case, the same in a terminal, a log and a pipe."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import CASES, Project

from kvgpt import plain, record
from kvgpt.measure import progress
from kvgpt.record import metric

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester, monkeypatch):
    return Project(pytester, monkeypatch)


def said(family, metrics, notes=(), **workload):
    figures = {name: metric(name, value) for name, value in metrics.items()}
    return progress.line("bench[x]", record.record(family, "v2", "int8", workload, figures, notes), "passed")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            said(
                "latency",
                {"per_token_latency": 0.001234, "fraction_of_floor": 0.41},
                new_tokens=64,
                batch_size=1,
                prompt=1,
            ),
            "latency v2 T=64 B=1: 1.23 ms/token, 0.41 of its floor",
        ),
        (
            said("latency", {"time_to_first_token": 2.0, "fraction_of_floor": 0.00312}, prompt=64, batch_size=1),
            "latency v2 prompt=64 B=1: 2 s to the first token, 0.0031 of its floor",
        ),
        (
            said("memory", {"cache_bytes": 1.0, "peak_memory": 9_205_600}, batch_size=8),
            "memory v2 B=8: 9.21 MB at peak",
        ),
        (said("capacity", {"max_batch": 491}, context=512), "capacity v2 context=512: 491 sequences"),
        (
            said("perplexity", {"perplexity": 5.15602}, mode="autoregressive"),
            "perplexity v2 autoregressive: perplexity 5.156",
        ),
        (said("floor", {"matmul_rate": 2e12}), "floor v2: 2 TFLOP/s matmul rate"),
        (
            said("latency", {"total_latency": 0.25}, ["throttled", "shared"]),
            "latency v2: 250 ms total latency, not valid: throttled; shared",
        ),
        (said("latency", {}, ["out of memory: 9 bytes"]), "latency v2: out of memory: 9 bytes"),
        (said("latency", {}), "latency v2"),
        (progress.line("bench[x]", None, "passed"), "bench[x]"),
        (progress.line("bench[x]", None, "failed"), "bench[x]: failed"),
    ],
)
def test_a_line_has_the_place_in_the_grid_and_the_familys_figure(line, expected):
    assert line == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0, "s", "0 s"),
        (0.9996, "s", "1 s"),
        (999.4, "B", "999 B"),
        (-1.5e-5, "s", "-15 µs"),
        (1e-15, "s", "0.001 ps"),
        (3e18, "B", "3 EB"),
        (0.00051, "1", "0.00051"),
        (12345678, "1", "12345678"),
    ],
)
def test_figures_have_three_digits_and_the_prefix_that_fits(value, unit, expected):
    assert progress.si({"value": value, "unit": unit}) == expected


@given(st.floats(min_value=1e-11, max_value=1e16))
def test_a_figure_reads_as_the_number_that_it_is(value):
    number, unit = progress.si({"value": value, "unit": "s"}).split()
    power = plain.PREFIXES.index(unit[:-1]) - plain.PREFIXES.index("")
    assert float(number) * 1000.0**power == pytest.approx(value, rel=5.1e-3)
    assert 1 <= float(number) < 1000


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (130, "2 min 10 s"), (3780, "1 h 3 min")],
)
def test_time_is_said_as_people_say_it(seconds, expected):
    assert progress.span(seconds) == expected


def test_every_family_has_its_figure_and_every_figure_is_a_metric():
    assert set(progress.FIGURES) == set(record.FAMILIES)
    assert {name for names in progress.FIGURES.values() for name in names} | set(progress.PHRASES) <= set(
        record.METRICS
    )


class Terminal:
    """What lines are written to."""

    def __init__(self):
        self.lines, self.flushed = [], 0

    def write_line(self, text):
        self.lines.append(text)

    def flush(self):
        self.flushed = len(self.lines)


def test_the_time_left_is_that_of_the_family_and_else_of_all_cases():
    terminal = Terminal()
    config = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda name: terminal))
    shown = progress.Progress(config, SimpleNamespace(resumed=6))
    names = ["a.py::x", "a.py::y", "b.py::x", "b.py::y"]
    shown.pytest_collection_finish(
        SimpleNamespace(items=[SimpleNamespace(nodeid=name, fixturenames=["benchmark"]) for name in names])
    )
    for name, seconds in zip(names, (10.0, 30.0, 200.0, 1.0), strict=True):
        called = SimpleNamespace(when="call", duration=seconds)
        shown.reports, shown.landed = [SimpleNamespace(when="setup", duration=500.0), called], name
        shown.pytest_runtest_logfinish(name)
    assert terminal.lines == [
        "[ 7/10] a.py::x | 30 s left",  # three more like this one
        "[ 8/10] a.py::y | 40 s left",  # two of a family of which nothing is known
        "[ 9/10] b.py::x | 3 min 20 s left",
        "[10/10] b.py::y",
    ]
    assert terminal.flushed == 4


@pytest.mark.parametrize("verbosity", ["-q", "-v", "-vv", "-qq", "--color=no"])
def test_each_case_has_one_line_at_any_verbosity(project, verbosity):
    project.trouble("assertion", "v2 8")
    result = project.run(verbosity, "--benchmark-columns=median")
    lines = [line for line in result.outlines if re.match(progress.LINE, line)]
    assert [line.partition(" |")[0] for line in lines] == [
        "[1/4] latency v1 T=8 B=1: 1.23 ms/token",
        "[2/4] bench_latency[8-v2]: failed",
        "[3/4] latency v1 T=16 B=1: 1.23 ms/token",
        "[4/4] latency v2 T=16 B=1: 1.23 ms/token",
    ]
    assert "FAILED bench_it.py::bench_latency[8-v2]" in result.stdout.str() or verbosity == "-qq"
    assert not any(re.search(r"[.F]\[\d/4\]|bench_it.py [.F]", line) for line in result.outlines)


def test_what_was_resumed_counts_as_done(project):
    project.run("-k", "v1")
    result = project.run("--kvgpt-resume", "-k", "8 or v2")
    assert [line[:5] for line in result.outlines if re.match(progress.LINE, line)] == ["[2/3]", "[3/3]"]


def test_tests_that_measure_nothing_have_their_letter(project):
    (project.path / "bench_other.py").write_text("def bench_nothing():\n    pass\n")
    result = project.run()
    assert len([line for line in result.outlines if re.match(progress.LINE, line)]) == len(CASES)
    assert any(line.startswith(".") for line in result.outlines)
