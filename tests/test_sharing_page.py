"""docs/sharing.md shows what the reference results say, to the last digit shown."""

import csv
import json
import math
import re
import statistics
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


FILES = ("sharing-2-cores", "sharing-shakespeare-2-cores")
SEEDS = {"": 0, "-s1": 1, "-s2": 2}
OF_SEEDS = ("nano{}", "nano-cla2{}", "nano-cla2-healed{}")  # each model of a seed, without sharing, in pairs, healed


@pytest.fixture(scope="module")
def measured():
    """{(model, variant): record} of the reference results."""
    found = {}
    for name in FILES:
        document = json.loads((HOME / "benchmarks" / "reference" / f"{name}.json").read_text())
        for record in (benchmark["extra_info"]["kvgpt"] for benchmark in document["benchmarks"]):
            assert record["validity"]["ok"], record["validity"]
            found[PurePath(record["workload"]["model"]).name, record["variant"]] = record
    return found


@pytest.fixture(scope="module")
def perplexities(measured):
    """{seed: (perplexity of nano, in pairs, healed)}"""
    return {
        seed: tuple(
            measured[model.format(mark), variant]["metrics"]["perplexity"]["value"]
            for model, variant in zip(OF_SEEDS, ("v1", "v3", "v3"), strict=True)
        )
        for mark, seed in SEEDS.items()
    }


def test_every_case_is_shown(measured):
    seeds = {model.format(mark) for mark in list(SEEDS)[1:] for model in OF_SEEDS}
    assert {(row["model"], row["variant"]) for row in ROWS} == {case for case in measured if case[0] not in seeds}


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


def test_the_seeds_are_what_was_measured(perplexities):
    columns = list(zip(*perplexities.values(), strict=True))
    changes = [[one / plain - 1 for plain, one in zip(columns[0], column, strict=True)] for column in columns[1:]]
    cells = [
        [f"{seed}", f"{plain:.3f}", f"{pairs:.3f}", f"{changes[0][at]:+.2%}", f"{healed:.3f}", f"{changes[1][at]:+.2%}"]
        for at, (seed, (plain, pairs, healed)) in enumerate(perplexities.items())
    ]
    plain, pairs, healed = (f"{statistics.mean(column):.3f} ± {statistics.stdev(column):.3f}" for column in columns)
    shared, mended = (f"{statistics.mean(change):+.2%} ± {statistics.stdev(change):.2%}" for change in changes)
    cells.append(["mean ± sd", plain, pairs, shared, healed, mended])
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    assert table in (HOME / "docs" / "sharing.md").read_text(), table


def test_a_kept_curve_ends_where_its_model_was_measured(measured):
    curves = {path.stem: path for path in (HOME / "benchmarks" / "reference" / "training").glob("*.csv")}
    ends = {}
    for (model, _), record in measured.items():
        if record["canonical"].startswith("dense"):
            ends.setdefault(model, record["metrics"]["perplexity"]["value"])  # the first: under its own sharing
    assert set(curves) == set(ends) - {"nano"}
    for model, path in curves.items():
        *_, last = csv.DictReader(path.read_text().splitlines())
        assert math.exp(float(last["held_out_loss"])) == pytest.approx(ends[model], rel=1e-3), model
