"""docs/optimization-notes.md and docs/costs.md: closed forms as computed, measured figures as in the results."""

import json
import re
from pathlib import Path

import pytest

from kvgpt import costs, itemised, sizing
from kvgpt.config import GPTConfig
from kvgpt.datasheets import sheet
from kvgpt.recipes import STORAGES, Variant

HOME = Path(__file__).parent.parent
PAGE = (HOME / "docs" / "optimization-notes.md").read_text()
MEDIUM, DTYPE, SHEET = GPTConfig.preset("gpt2-medium"), "bfloat16", sheet("h200")
H200 = sizing.Rates(SHEET.name, SHEET.memory, SHEET.bandwidth, SHEET.rate(DTYPE))


def size(name, context):
    return sizing.size(MEDIUM, Variant.parse(name), DTYPE, H200, context)


def table(heading):
    """The cells of the first table after a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_what_a_cache_buys():
    rows = table("The cache")
    assert [row[0] for row in rows] == ["512", "1024"]
    for row in rows:
        v0, v1 = (size(name, int(row[0])).alone for name in ("v0", "v1"))
        assert row[1:4] == [f"{1e6 * v0:.1f} µs", f"{1e6 * v1:.1f} µs", f"{v0 / v1:.1f}"]


def test_what_int8_buys():
    rates = SHEET.rate(DTYPE), SHEET.bandwidth
    for batch, *cells in table("INT8"):
        for context, cell in zip((512, 1024), cells, strict=True):
            v1, v2 = (
                itemised.step(MEDIUM, Variant.parse(n), DTYPE, int(batch), context).seconds(*rates)
                for n in ("v1", "v2")
            )
            assert cell == f"{v1 / v2:.2f}"


def test_what_sharing_buys():
    rows = table("Sharing")
    assert [row[0] for row in rows] == ["v1", "v2", "v3", "v4"]
    for row in rows:
        assert row[1:3] == [f"{size(row[0], 1).cache:,}", f"{size(row[0], 1024).bound:,}"]
    assert f"{size('v3', 1).weights / 1e6:.1f} MB for {size('v1', 1).weights / 1e6:.1f}" in PAGE


def test_bytes_of_a_vector_and_of_scores():
    bytes_of = {
        name: [costs.vector_bytes(64, side, DTYPE) for side in (kept.keys, kept.values)]
        for name, kept in STORAGES.items()
    }
    assert f"{bytes_of['int8'][0]} bytes for {bytes_of['dense'][0]}, {66 / 128:.4f}" in PAGE
    int4, k8v4, fp8 = (sum(bytes_of[name]) // 2 for name in ("int4", "k8v4", "fp8"))
    assert f"`int4` keeps {int4} bytes of 128, `k8v4` {k8v4} on average, `fp8` {fp8}" in PAGE
    scores = 2 * MEDIUM.n_head * 64 * 1023 * 2
    assert f"{scores / 1e6:.2f} MB a sequence" in PAGE


def test_measured_figures_are_those_of_the_results():
    document = json.loads((HOME / "benchmarks" / "reference" / "epyc-2-cores-float32.json").read_text())
    records = [benchmark["extra_info"]["kvgpt"] for benchmark in document["benchmarks"]]
    ms = {
        one["variant"]: f"{1e3 * one['metrics']['per_token_latency']['value']:.1f}"
        for one in records
        if (one["workload"]["batch_size"], one["workload"]["context"]) == (8, 1024)
    }
    text = re.sub(r"\s+", " ", PAGE)
    assert f"`v2` took {ms['v2']} ms a token, `int8-unfused` {ms['int8-unfused']}, and `v1` {ms['v1']}" in text


@pytest.mark.parametrize("name", ["costs.md", "optimization-notes.md"])
def test_the_examples_run(name):
    for block in re.findall(r"```python\n(.*?)```", (HOME / "docs" / name).read_text(), flags=re.DOTALL):
        exec(block, {})  # noqa: S102 - our own page
