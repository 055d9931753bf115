"""What kvgpt size says: held to what a search of a real memory finds, and to the floors of the benchmarks."""

import json
import subprocess
import sys

import pytest
import torch

import kvgpt
from kvgpt import cli, costs, datasheets, sizing, transients
from kvgpt.conformance import strategies
from kvgpt.measure import loads
from kvgpt.measure.attempt import HostMemory, attempt, quick_collections
from kvgpt.measure.capacity import search
from kvgpt.plain import parsed
from kvgpt.recipes import Variant

CONFIG = kvgpt.GPTConfig(n_layer=4, n_head=2, n_embd=32, vocab_size=61, block_size=96)
MEDIUM = kvgpt.GPTConfig.preset("gpt2-medium")
H200 = sizing.Rates("H200", 141e9, 4.8e12, 989.5e12)


@pytest.mark.parametrize("name", [*kvgpt.variants(), "int4+cla2", "int8+cla2+window"])
def test_as_many_fit_as_it_says(name):
    """The searched figure, on a budget for 40 or so: with so few, 3% is one sequence."""
    variant = Variant.parse(name)
    first = kvgpt.Engine(
        strategies.model(CONFIG, 0, torch.float32), name, 1, 96, calibration=strategies.ids(2, 9, 0) % 61
    )
    need = transients.serving(CONFIG, variant, "float32", 96, transients.last_chunk(96))
    budget = need.room(40)
    said = sizing.size(CONFIG, variant, "float32", sizing.Rates("here", budget, 1e9, 1e9), 96)
    load = loads.serving(lambda batch: kvgpt.Engine(first.model, name, batch, 96), 96)
    with quick_collections():
        found = search(
            lambda batch: attempt(load, batch, HostMemory(budget), first.model.nbytes), said.largest, times=1
        ).max_batch
    assert said.weights == first.model.nbytes and said.cache == costs.cache_bytes(CONFIG, variant, 1, 96, "float32")
    assert abs(found / said.largest - 1) <= 0.03
    assert said.bound is None if name == "v0" else said.bound >= found


@pytest.mark.parametrize("name", ["v0", "v1", "v4", "int4"])
@pytest.mark.parametrize("users", [None, 1, 2000, 20_011])
def test_times_are_the_floors_of_the_bill(name, users):
    variant = Variant.parse(name)
    said = sizing.size(MEDIUM, variant, "bfloat16", H200, 512, users)

    def floor(batch):
        step = costs.bill(MEDIUM, variant, "bfloat16", batch).step(held=511)
        return max(step.bytes / 4.8e12, step.flops / 989.5e12)

    assert said.alone == floor(1) <= said.latency == floor(said.batch)
    assert said.throughput == said.batch / said.latency
    if users is None:
        assert said.gpus is None and said.batch == said.largest
    else:
        assert said.gpus * said.largest >= users > (said.gpus - 1) * said.largest
        assert said.gpus * said.batch >= users > said.gpus * (said.batch - 1)


def test_one_more_than_the_largest_does_not_fit():
    said = sizing.size(MEDIUM, Variant(), "bfloat16", H200, 512)
    assert said.weights + said.largest * said.peak <= 141e9 < said.weights + (said.largest + 1) * said.peak
    assert said.weights + said.bound * said.cache <= 141e9 < said.weights + (said.bound + 1) * said.cache


def test_where_nothing_fits_there_are_no_times():
    small = sizing.Rates("small", 700e6, 1e9, 1e9)
    said = sizing.size(MEDIUM, Variant(), "bfloat16", small, 512, users=3)
    assert (said.largest, said.batch, said.bound, said.gpus) == (0, 0, 0, None)
    assert said.alone is said.latency is said.throughput is None


@pytest.mark.parametrize(
    ("context", "users", "message"), [(1025, 1, "positions for 1 to 1024"), (0, 1, "at least 1"), (9, 0, "for 0 users")]
)
def test_what_cannot_be_asked(context, users, message):
    with pytest.raises(ValueError, match=message):
        sizing.size(MEDIUM, Variant(), "bfloat16", H200, context, users)


def test_rotary_positions_have_no_end():
    rotary = kvgpt.GPTConfig.preset("nano-rotary")
    assert sizing.size(rotary, Variant("int8"), "bfloat16", H200, 100_000).cache == 100_000 * 8 * 2 * 2 * 66


@pytest.mark.parametrize("name", datasheets.SHEETS)
def test_a_sheet_says_what_could_be(name):
    """Typed by hand: no unit is off by a thousand, and no rate is that of sparse products."""
    known = datasheets.sheet(name.upper())
    assert 16e9 <= known.memory <= 192e9 and 300e9 <= known.bandwidth <= 8e12 and known.source
    half, single = known.flops["float16"], known.flops["float32"]
    assert 8e12 <= single <= 164e12 and 1.9 <= half / single <= 31
    assert known.flops.get("bfloat16", half) == half
    assert 40 < half / known.bandwidth < 450, "operations a byte"


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("80GB", "B", 80e9),
        ("74.5 GiB", "B", 74.5 * 2**30),
        ("3.35TB/s", "B/s", 3.35e12),
        ("989TFLOP/s", "FLOP/s", 989e12),
        ("1e3MB", "B", 1e9),
        ("7B", "B", 7),
    ],
)
def test_a_quantity_is_read(text, unit, value):
    assert parsed(text, unit) == pytest.approx(value)


@pytest.mark.parametrize("text", ["80", "80GB/s", "GB", "-1GB", "0GB", "80gb", "1e999GB", "80 G B", "nanB", "80XB", ""])
def test_what_is_no_quantity_of_bytes(text):
    with pytest.raises(ValueError, match=r"expected a number and a unit|must be positive"):
        parsed(text, "B")


def printed(capsys, *arguments):
    assert cli.main(["size", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_prints_what_is_asked(capsys):
    asked = "--model gpt2-medium --gpu h200 --variant v4 --lengths 512,1024 --users 2000"
    out = printed(capsys, *asked.split())
    said = [sizing.size(MEDIUM, Variant.parse("v4"), "bfloat16", H200, length, 2000) for length in (512, 1024)]
    rows = [line.split("  ") for line in out.splitlines() if line.startswith("v4 ")]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert [row[1] for row in cells] == ["512", "1024"]
    assert [row[6] for row in cells] == [f"{one.largest:,}" for one in said]
    assert [row[7] for row in cells] == [str(one.gpus) for one in said]
    assert [row[-1] for row in cells] == [f"{one.throughput:,.0f}" for one in said]
    assert "modelled, not measured" in out and "data sheet" in out and "141 GB" in out


def test_the_command_prints_json_in_si_units(capsys):
    given = "--model nano --memory 32MB --bandwidth 20GB/s --flops 1TFLOPS --variant v1,v0 --dtype float32 --json"
    document = json.loads(printed(capsys, *given.split()))
    nano = kvgpt.GPTConfig.preset("nano")
    here = sizing.Rates("a device as stated", 32e6, 20e9, 1e12)
    expected = sizing.sizes(nano, [Variant(), Variant("none")], "float32", [here], [256])
    assert document["kind"] == "modelled" and document["sizes"] == [vars(one) for one in expected]


def test_stated_figures_take_the_place_of_a_sheets(capsys):
    document = json.loads(printed(capsys, "--gpu", "h200,a6000", "--bandwidth", "4.3TB/s", "--json"))
    assert [device["bandwidth"] for device in document["devices"]] == [4.3e12] * 2
    assert [device["memory"] for device in document["devices"]] == [141e9, 48e9]
    assert "bandwidth as stated" in document["devices"][0]["name"]


def test_a_directory_is_a_model_too(capsys, tmp_path):
    strategies.model(CONFIG, 0, torch.float32).save_pretrained(tmp_path)
    document = json.loads(printed(capsys, "--model", str(tmp_path), "--gpu", "l4", "--variant", "v1", "--json"))
    assert document["sizes"][0]["weights"] == costs.weights_bytes(CONFIG, "bfloat16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--gpu h900", "unknown GPU 'h900': known: v100, t4, a100-40gb"),
        ("--gpu t4", "T4: its sheet has no rate for products of bfloat16, only for float16, float32"),
        ("--gpu l4 --memory 24", "--memory '24': expected a number and a unit, such as 80GB"),
        ("--gpu l4 --bandwidth 300GB", "--bandwidth '300GB': expected a number and a unit, such as 3.35TB/s"),
        ("--gpu l4 --flops 121T", "--flops '121T': expected"),
        ("--memory 24GB", "or state --bandwidth and --flops too"),
        ("--gpu l4 --lengths 512,2048", "a length of 2048: this model has positions for 1 to 1024 tokens"),
        ("--gpu l4 --lengths many", "--lengths many: expected whole numbers such as 512,1024"),
        ("--gpu l4 --variant v9", "unknown variant 'v9'"),
        ("--gpu l4 --model gpt5", "unknown model 'gpt5': known: nano"),
        ("--gpu l4 --users 0", "for 0 users"),
    ],
)
def test_the_command_refuses_in_one_line(capsys, arguments, message):
    assert cli.main(["size", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err


def test_sizes_are_known_without_torch():
    code = "import sys\nfrom kvgpt import cli\ncli.main(['size', '--gpu', 'h200'])\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
