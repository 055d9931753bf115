"""docs/performance.md shows what the reference results say, to the last digit shown."""

import json
import re
from pathlib import Path
from statistics import median

import pytest

HOME = Path(__file__).parent.parent
ROW = re.compile(
    r"^\| `(?P<variant>[\w-]+)` \| (?P<dtype>\w+) \| (?P<batch>\d+) \| (?P<context>\d+) \| (?P<ms>[\d.]+) \| "
    r"(?P<least>[\d.]+) to (?P<most>[\d.]+) \| (?P<share>[\d.]+) \| (?P<ratio>[\d.]+) \|$",
    flags=re.MULTILINE,
)
PAGE = (HOME / "docs" / "performance.md").read_text()
ROWS = [match.groupdict() for match in ROW.finditer(PAGE)]


@pytest.fixture(scope="module")
def measured():
    """The metrics of each case of the reference results of a CPU."""
    documents = [json.loads(path.read_text()) for path in (HOME / "benchmarks" / "reference").glob("epyc-*.json")]
    records = [benchmark["extra_info"]["kvgpt"] for document in documents for benchmark in document["benchmarks"]]
    assert all(record["validity"]["ok"] for record in records)
    return {
        (record["variant"], *(record["workload"][axis] for axis in ("dtype", "batch_size", "context"))): record[
            "metrics"
        ]
        for record in records
    }


def test_the_goals_found_are_ratios_of_the_rows(measured):
    def ms(variant, *workload):
        return 1e3 * measured[variant, *workload]["per_token_latency"]["value"]

    def over(variant, than, *workload):
        return f"{ms(variant, *workload) / ms(than, *workload):.2f}"

    of_one = [(dtype, 1, 512) for dtype in ("float32", "bfloat16")]
    shares = [measured["v1", *one]["fraction_of_floor"]["value"] for one in of_one]
    styles = ("transformers-dynamic", "transformers-static", "transformers-quantized")
    fastest = [min(float(over(style, "v1", *one)) for style in styles) for one in of_one]
    unfused = 1e3 * min(map(median, measured["int8-unfused", "bfloat16", 8, 1024]["per_token_latency"]["processes"]))
    for row in (
        f"| v1 float32, batch 1, 512 tokens: share of the floor | 0.80 | 0.60 | {shares[0]:.2f} |",
        f"| v1 bfloat16, the same | 0.60 | 0.42 | {shares[1]:.2f} |",
        f"| 1.6 / 1.6 | {fastest[0]:.2f} / {fastest[1]:.2f} |",
        f"| 1.5 | {over('gpt-fast', 'v1', *of_one[0])} / {over('gpt-fast', 'v1', *of_one[1])} |",
        f"| {over('v1', 'v2', 'float32', 8, 1024)}; bfloat16 {over('v1', 'v2', 'bfloat16', 8, 1024)} |",
        f"| {over('transformers-quantized', 'v2', 'float32', 1, 1024)} |",
        f"| {over('int8-unfused', 'v2', 'float32', 8, 1024)}; "
        f"bfloat16 {over('int8-unfused', 'v2', 'bfloat16', 8, 1024)}, "
        f"and {unfused / ms('v2', 'bfloat16', 8, 1024):.1f} where that has no page faults |",
    ):
        assert row in PAGE


def test_every_measured_case_is_shown(measured):
    shown = {(row["variant"], row["dtype"], int(row["batch"]), int(row["context"])) for row in ROWS}
    assert shown == set(measured) and len(ROWS) == len(measured)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(list(row.values())[:4]))
def test_a_row_is_what_was_measured(measured, row):
    workload = row["dtype"], int(row["batch"]), int(row["context"])
    figures, base = measured[row["variant"], *workload], measured["v1", *workload]
    of_passes = [1e3 * sorted(samples)[len(samples) // 2] for samples in figures["per_token_latency"]["processes"]]
    ms, of_v1 = (1e3 * one["per_token_latency"]["value"] for one in (figures, base))
    found = {
        "ms": f"{ms:.1f}",
        "least": f"{min(of_passes):.1f}",
        "most": f"{max(of_passes):.1f}",
        "share": f"{figures['fraction_of_floor']['value']:.2f}",
        "ratio": f"{ms / of_v1:.2f}",
    }
    assert found == {name: row[name] for name in found}
