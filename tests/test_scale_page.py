"""docs/scale.md shows closed forms and what the reference results say, to the last digit shown."""

import json
import re
from pathlib import Path

import pytest

from kvgpt import costs, recorded
from kvgpt.config import GPTConfig
from kvgpt.measure.roof import MIB
from kvgpt.parallel import SECONDS

HOME = Path(__file__).parent.parent
REFERENCE = HOME / "benchmarks" / "reference"
PAGE = (HOME / "docs" / "scale.md").read_text()
MEDIUM = GPTConfig.preset("gpt2-medium")
RATES = (25e9, 3.35e12)  # bytes a second
HELD = 512


def rows(first):
    """The rows of tables whose first column matches, each a list of its columns."""
    return [line[2:-2].split(" | ") for line in PAGE.splitlines() if re.match(rf"\| {first} \|", line)]


WIRE = rows(r"\d+")


@pytest.mark.parametrize("row", WIRE, ids=lambda row: " over ".join(row[:2]))
def test_what_is_sent_is_the_closed_form(row):
    batch, ranks = int(row[0]), int(row[1])
    wire = costs.wire(MEDIUM, "bfloat16", batch, ranks)
    bill = costs.bill(MEDIUM, costs.Variant.parse("v1"), "bfloat16", batch, ranks)
    whole = costs.bill(MEDIUM, costs.Variant.parse("v1"), "bfloat16", batch).step(HELD).bytes
    part = bill.step(HELD).bytes
    found = [f"{part / 1e6:.1f}", str(wire.collectives)]
    if ranks == 1:
        assert row[2:] == [*found, *["-"] * 5] and wire.sent == 0
        return
    found += [f"{size / 1e3:.1f}" for size in (wire.summed, wire.gathered, wire.sent)]
    found += [f"{1e6 * (whole - part) / rate / wire.collectives:.1f}" for rate in RATES]
    assert row[2:] == found


def test_every_number_of_ranks_is_shown():
    assert [tuple(row[:2]) for row in WIRE] == [(batch, ranks) for batch in ("1", "64") for ranks in "1248"]


def test_a_step_exchanges_two_sums_a_layer_and_the_logits():
    wire = costs.wire(GPTConfig(n_layer=3, n_head=4, n_embd=8, vocab_size=31, block_size=4), "float32", 5, 2, fed=7)
    assert (wire.sums, wire.collectives) == (6, 7)
    assert wire.summed == 5 * 7 * 8 * 4 and wire.gathered == 5 * 32 * 4  # 16 logits of each rank
    assert wire.sent == (6 * 2 * wire.summed + wire.gathered) / 2


def test_what_was_measured_is_shown_and_valid():
    made = [
        one["extra_info"]["kvgpt"] for one in json.loads((REFERENCE / "gloo-2-ranks.json").read_text())["benchmarks"]
    ]
    assert all(one["validity"]["ok"] for one in made)
    assert all(one["workload"]["tensor_parallel"] == 2 and one["workload"]["backend"] == "gloo" for one in made)
    found = []
    for one in made:
        times, rate = one["metrics"]["total_latency"], one["metrics"]["wire_bandwidth"]["value"]
        shown = [f"{1e3 * times['value']:.2f}", f"{1e3 * min(times['processes'][0]):.2f}", f"{rate / 1e6:.1f}"]
        found.append([f"`{one['workload']['collective']}`", f"{one['workload']['bytes']:,}", *shown])
    assert rows("`all_[a-z]+`") == found


def test_what_a_node_writes_is_what_cases_take():
    files = [path.read_text() for path in sorted(REFERENCE.glob("epyc-*.json"))]
    cases = [one for text in files for one in json.loads(text)["benchmarks"]]
    each = sum(map(len, files)) / len(cases)
    line = sum(len(json.dumps(one)) + 1 for one in cases) / len(cases)
    start = costs.weights_bytes(MEDIUM, "float32")
    assert rows("a case in a results file")[0][1].startswith(f"{each:,.0f}, the mean of {len(cases)} in")
    assert rows("a case in a journal")[0][1].startswith(f"{line:,.0f},")
    assert f"{start:,}" in PAGE
    for sentence in (
        f"write {12.8 * line / 1e3:.0f} kB/s in 12.8 syncs a second",
        f"read {128 * start / 1e9:.0f} GB at the same moment: {16 * start / 1e9:.0f} GB",
        f"more than {recorded.LARGEST_FILE // MIB} MiB together, which is {recorded.LARGEST_FILE // each:,.0f} cases",
    ):
        assert sentence in PAGE


def test_the_sentences_are_the_closed_forms_too():
    held = [costs.weights_bytes(MEDIUM, "bfloat16", ranks) / 1e6 for ranks in (1, 2, 8)]
    assert (
        f"of {held[0]:.1f} MB of weights one of 2 ranks holds {held[1]:.1f} MB, one of 8 holds {held[2]:.1f} MB" in PAGE
    )
    head = 2 * MEDIUM.vocab_size * MEDIUM.n_embd / 1e6
    assert head > held[2] - head > 0, "a whole head would be more than half of the weights that one of 8 reads"
    assert f"{SECONDS:g} unless named" in PAGE.replace("\n", " ")
