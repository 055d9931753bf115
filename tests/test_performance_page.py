"""docs/performance.md shows what the reference results say, to the last digit shown."""

import json
import re
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
ROW = re.compile(
    r"^\| `(?P<variant>[\w-]+)` \| (?P<dtype>\w+) \| (?P<batch>\d+) \| (?P<context>\d+) \| (?P<ms>[\d.]+) \| "
    r"(?P<least>[\d.]+) to (?P<most>[\d.]+) \| (?P<share>[\d.]+) \| (?P<ratio>[\d.]+) \|$",
    flags=re.MULTILINE,
)
ROWS = [match.groupdict() for match in ROW.finditer((HOME / "docs" / "performance.md").read_text())]


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
