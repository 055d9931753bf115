"""docs/sharing.md shows what the reference results say, to the last digit shown."""

import json
import re
from pathlib import Path, PurePath

import pytest

HOME = Path(__file__).parent.parent
CELLS = {  # of a row, as it is shown
    "way": r"[^|`]+",
    "model": r"`[\w-]+`",
    "variant": r"`[\w+-]+`",
    "kilobytes": r"[\d.]+",
    "perplexity": r"[\d.]+",
    "change": r"[+-][\d.,]+%",
    "error": r"[\d.]+|-",
    "divergence": r"[\d.]+|-",
    "same": r"[\d.]+%|-",
    "ms": r"[\d.]+",
}
ROW = re.compile("".join(rf"\| (?P<{name}>{cell}) " for name, cell in CELLS.items()) + r"\|$", flags=re.MULTILINE)
ROWS = [
    {name: cell.strip("`") for name, cell in match.groupdict().items()}
    for match in ROW.finditer((HOME / "docs" / "sharing.md").read_text())
]


@pytest.fixture(scope="module")
def measured():
    """{(model, variant): record} of the reference results."""
    document = json.loads((HOME / "benchmarks" / "reference" / "sharing-2-cores.json").read_text())
    records = [benchmark["extra_info"]["kvgpt"] for benchmark in document["benchmarks"]]
    assert all(record["validity"]["ok"] for record in records)
    return {(PurePath(record["workload"]["model"]).name, record["variant"]): record for record in records}


def test_every_case_is_shown(measured):
    assert {(row["model"], row["variant"]) for row in ROWS} == set(measured) and len(ROWS) == len(measured)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['variant']}")
def test_a_row_is_what_was_measured(measured, row):
    figures = measured[row["model"], row["variant"]]["metrics"]
    change, apart, same = figures["nll_change"], figures.get("kl_divergence"), figures.get("top1_agreement")
    found = {
        "kilobytes": f"{figures['cache_bytes']['value'] / 1e3:.0f}",
        "perplexity": f"{figures['perplexity']['value']:.3f}",
        "change": f"{100 * figures['perplexity_change']['value']:+,.2f}%",
        "error": f"{change['stderr']:.4f}" if apart else "-",
        "divergence": f"{apart['value']:.4f}" if apart else "-",
        "same": f"{100 * same['value']:.1f}%" if same else "-",
        "ms": f"{1e3 * figures['per_token_latency']['value']:.2f}",
    }
    assert found == {name: row[name] for name in found}
