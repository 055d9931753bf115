"""A GPU's counters: what an exported table comes to, when that is believed, and why nothing could be counted."""

import ast
import json

import fake_ncu
import pytest
import torch
from fake_ncu import BYTES, FADD, FFMA, FMUL, HMMA, ORIGINAL, TENSOR, TIME

from kvgpt import cli
from kvgpt.costs import Demand
from kvgpt.measure.ncu import capture, captured, counted, counters, exported
from kvgpt.measure.ncu.counted import Known

KNOWN = Known(bytes=1e9, flops=1e12)


def of_original(parts=4):
    """The original's counters as of so many kernels a range, with none of the tensor cores'."""
    return [
        (name.replace("_", "__"), f"kernel_{part}", {counter: value / parts for counter, value in counts.items()})
        for name, counts in ORIGINAL.items()
        for part in range(parts)
    ]


def figures(kernels, known=KNOWN, **options):
    ranges = exported.parse(fake_ncu.table(kernels, **options), "file")
    return {one.name: one for one in counted.figures(ranges, known)}


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_originals_counters_come_to_what_it_published(name):
    published = {"v0_prefill": (1.57, 377.0e9), "v1_prefill": (1.56, 375.0e9), "v1_decode": (0.51, 146.3e9)}[name]
    one = figures(of_original())[name.replace("_", "__")]
    assert one.kernels == 4 and one.counts[BYTES] == pytest.approx(ORIGINAL[name][BYTES])
    assert one.core_flops / one.counts[BYTES] == pytest.approx(published[0], abs=0.01)
    assert one.core_flops / one.seconds == pytest.approx(published[1], rel=2e-3)


def test_what_nothing_known_was_counted_beside_is_withheld_and_says_why():
    for one in figures(of_original()).values():
        assert one.dram_bytes is None and one.total_flops is None and one.arithmetic_intensity is None
        assert "nothing of known bytes" in one.withheld["dram_bytes"]
        assert "no counter of the tensor cores" in one.withheld["total_flops"]
        made = counted.document(one)
        assert "dram_bytes" not in made and "total_flops" not in made and made["withheld"]
        assert (
            made["counters"][BYTES]
            and made["fadd"]
            and made["ffma"]
            and made["time_ns"] == pytest.approx(1e9 * one.seconds)
        )


def step(bytes_=2e9, tensors=3e11, **more):
    return (
        "v1__decode",
        "gemv",
        {BYTES: bytes_, TIME: 2e6, FADD: 1e6, FMUL: 2e6, FFMA: 3e6, HMMA: 5.0, TENSOR: tensors, **more},
    )


@pytest.mark.parametrize(("read", "product", "believed"), [(1.04, 0.96, True), (0.94, 1.0, False), (1.06, 1.0, False)])
def test_bytes_are_believed_where_known_ones_are_counted_within_five_percent(read, product, believed):
    one = figures([*fake_ncu.calibration(KNOWN, read, product), step()])["v1__decode"]
    assert (one.dram_bytes is not None) is believed
    assert one.total_flops == 1e6 + 2e6 + 2 * 3e6 + 3e11, "additions, products, two a fused one, and the tensor cores'"
    if not believed:
        assert f"{100 * (read - 1):+.1f}%" in one.withheld["dram_bytes"] and "above 5%" in one.withheld["dram_bytes"]


def test_operations_are_withheld_where_a_known_product_is_counted_wrongly():
    one = figures([*fake_ncu.calibration(KNOWN, product=0.5), step()])["v1__decode"]
    assert one.total_flops is None and one.dram_bytes == 2e9
    assert "-50.0%" in one.withheld["total_flops"]


def test_the_document_holds_the_closed_forms_beside():
    one = figures([*fake_ncu.calibration(KNOWN), step()])["v1__decode"]
    made = counted.document(one, Demand(flops=one.total_flops / 2, bytes=1.9e9), {"model": "gpt2-medium"})
    assert made["counted_over_predicted"] == {"dram_bytes": pytest.approx(2e9 / 1.9e9), "total_flops": 2.0}
    assert made["capture"] == {"model": "gpt2-medium"} and made["tensor_instructions"] == 5.0
    assert made["arithmetic_intensity"] == pytest.approx(made["total_flops"] / 2e9)
    json.dumps(made, allow_nan=False)


SPARSE = "sm__ops_path_tensor_src_bf16_dst_fp32_sparsity_off.sum"


def test_no_operation_of_the_tensor_cores_counts_twice():
    assert (
        counters.tensor_operations({TENSOR: 8.0, SPARSE: 8.0, SPARSE.replace("off", "on"): 0.0, HMMA: 1.0}, 9.0) == 8.0
    )
    assert counters.tensor_operations({SPARSE: 8.0, SPARSE.replace("off", "on"): 1.0, HMMA: 1.0}, 9.0) == 9.0
    fp16 = "sm__ops_path_tensor_src_fp16.sum"
    assert (
        counters.tensor_operations({fp16: 3.0, fp16.replace(".", "_dst_fp32."): 3.0, TENSOR: 1.0, HMMA: 1.0}, 9.0)
        == 4.0
    )


@pytest.mark.parametrize(
    ("counts", "capability", "found"),
    [
        ({HMMA: 0.0}, 9.0, 0.0),
        ({HMMA: 4.0}, 7.5, 4.0 * 512),
        ({HMMA: 4.0}, 9.0, None),
        ({HMMA: 4.0, TENSOR: 0.0}, 9.0, None),
        ({}, 9.0, None),
        ({"sm__inst_executed_pipe_tensor_op_hmma.sum": 2.0}, 7.0, 1024.0),
    ],
)
def test_tensor_cores_that_worked_are_never_counted_as_nothing(counts, capability, found):
    assert counters.tensor_operations(counts, capability) == found


def test_units_are_taken_from_the_table():
    small = exported.parse(
        fake_ncu.table([("v1__decode", "k", {BYTES: 2.0, TIME: 3.0})], units={BYTES: "Gbyte", TIME: "usecond"}), "f"
    )
    assert small["v1__decode"].counts == {BYTES: 2e9, TIME: pytest.approx(3e-6)}
    with pytest.raises(ValueError, match="--print-units base"):
        exported.parse(fake_ncu.table([("v1__decode", "k", {BYTES: 2.0})], units={BYTES: "furlong"}), "f")


def test_kernels_outside_of_our_ranges_are_left_out_and_nested_ones_go_to_the_inner():
    kernels = [("", "elsewhere", {BYTES: 1.0}), ("v1__decode", "k", {BYTES: 2.0})]
    text = fake_ncu.table(kernels)
    assert {name: one.counts[BYTES] for name, one in exported.parse(text, "f").items()} == {"v1__decode": 2.0}
    nested = text.replace("kvgpt__v1__decode:none", 'outer:none"  ""<default domain>:kvgpt__v1__decode:none')
    assert list(exported.parse(nested, "f")) == ["v1__decode"]


def test_a_table_without_ranges_is_of_what_its_file_is_named_after(tmp_path):
    path = tmp_path / "v1_decode.csv"
    path.write_text("==PROF== Connected to process 7\n" + fake_ncu.table(of_original()[-4:], ranges=False))
    (one,) = counted.figures(exported.read(path), None)
    assert one.name == "v1_decode" and one.core_flops == pytest.approx(0.4483e9)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table of Nsight Compute"),
        ("==ERROR== No kernels were profiled.\n", "No kernels were profiled"),
        ("a,b\n1,2\n", "no table of Nsight Compute"),
        ("\n".join(fake_ncu.table(of_original()).splitlines()[:2]), "no kernel was captured"),
        (fake_ncu.table(of_original())[:-30], "cut off"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(text, why):
    with pytest.raises(ValueError, match=why):
        exported.parse(text, "file")


# ncu itself


def test_what_a_gpu_has_not_is_not_asked_for():
    assert counters.wanted({"dram__bytes", "gpu__time_duration", "sm__inst_executed_pipe_tensor"}) == [
        BYTES,
        TIME,
        HMMA,
    ]
    with pytest.raises(ValueError, match=r"counts no dram__bytes\.sum"):
        counters.wanted({"gpu__time_duration"})


def test_a_capture_is_of_the_ranges_alone_with_warm_caches_and_no_rights(tmp_path):
    path, notes = fake_ncu.install(tmp_path)
    tool = capture.find(path)
    assert tool.version == "2025.1.0.0"
    report = capture.capture(
        tool, ["python", "-m", "kvgpt"], ["v1__decode", "calibration__read"], tmp_path / "x.ncu-rep"
    )
    words = ast.literal_eval(notes.read_text().splitlines()[-1])
    included = [words[place + 1] for place, word in enumerate(words) if word == "--nvtx-include"]
    assert included == ["kvgpt__v1__decode/", "kvgpt__calibration__read/"] and words[-3:] == ["python", "-m", "kvgpt"]
    assert words[words.index("--cache-control") + 1] == "none" and words[words.index("--metrics") + 1].startswith(BYTES)
    assert report.read_text() == "a report" and "sudo" not in words
    assert capture.export(tool, report) == ""
    assert ast.literal_eval(notes.read_text().splitlines()[-1])[-2:] == ["--print-units", "base"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"version": "Version 2019.5.0"}, "'Version 2019.5.0': known are 2021 to 2026"),
        ({"version": "something else"}, "known are 2021 to 2026"),
        ({"metrics": ["gpu__time_duration"]}, "counts no dram__bytes.sum"),
        (
            {"said": "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission", "code": 1},
            "RestrictProfilingToAdminUsers=0",
        ),
        ({"said": "==ERROR== The application returned an error code (9)", "code": 1}, "returned an error code"),
    ],
)
def test_what_cannot_be_counted_is_skipped_with_the_reason_and_the_fix(tmp_path, options, why):
    path, _ = fake_ncu.install(tmp_path, **options)
    with pytest.raises(capture.Skipped, match=why):
        capture.capture(capture.find(path), ["true"], ["v1__decode"], tmp_path / "x.ncu-rep")


def test_without_the_tool_the_fix_is_named(tmp_path):
    with pytest.raises(capture.Skipped, match=r"nsight-compute; --ncu PATH"):
        capture.find(str(tmp_path / "absent"))


def test_a_command_that_is_skipped_leaves_nothing_and_ends_with_one(tmp_path, monkeypatch, capsys):
    from kvgpt.measure import device

    monkeypatch.setattr(device, "unusable", lambda name: None)
    path, _ = fake_ncu.install(tmp_path / "bin", said="==ERROR== ERR_NVGPUCTRPERM", code=1)
    assert cli.main(["roofline", "--ncu", path, f"--out={tmp_path / 'out'}"]) == 1
    assert "NVreg_RestrictProfilingToAdminUsers=0" in capsys.readouterr().err and not (tmp_path / "out").exists()


# the command


def capture_of(folder, file="v1_decode_metrics.json"):
    """A table of a known capture and of one range that nobody asked for, and the file beside it."""
    path = folder / "roofline.csv"
    path.write_text(fake_ncu.table([*fake_ncu.calibration(KNOWN), step(), *of_original()[:4]]))
    form = Demand(flops=3e11, bytes=1.9e9)
    phases = {
        "v1__decode": captured.Phase(file, {"variant": "v1"}, form),
        "v2__decode": captured.Phase("v2_decode_metrics.json", {"variant": "v2"}, form),
    }
    captured.write(folder, captured.Captured({"model": "gpt2-medium"}, KNOWN, phases))
    return path


def test_the_command_makes_a_file_for_each_range(tmp_path, capsys):
    assert cli.main(["roofline", "--from", str(capture_of(tmp_path)), "--out", str(tmp_path / "out")]) == 0
    assert {one.name for one in (tmp_path / "out").iterdir()} == {
        "v1_decode_metrics.json",
        "v0__prefill_metrics.json",
    }
    made = json.loads((tmp_path / "out/v1_decode_metrics.json").read_text())
    assert made["dram_bytes"] == 2e9 and made["counted_over_predicted"]["dram_bytes"] == pytest.approx(2 / 1.9)
    assert made["capture"] == {"model": "gpt2-medium", "variant": "v1"}
    shown = capsys.readouterr().out
    assert "1.053" in shown and "withheld: no counter of the tensor cores" in shown
    assert "missing: no kernel of v2__decode was captured" in shown


def test_no_name_in_a_capture_leads_out_of_the_folder(tmp_path):
    path = capture_of(tmp_path, file="../../escaped.json")
    assert cli.main(["roofline", "--from", str(path), "--out", str(tmp_path / "a/b/out")]) == 0
    assert len([*(tmp_path / "a/b/out").iterdir()]) == 2 and not [*tmp_path.rglob("escaped.json")]


@pytest.mark.parametrize("content", ["[]", "{}", '{"known": {"x": 1}, "phases": {}, "about": {}}', '{"known": 1}'])
def test_a_capture_that_says_something_else_is_refused(tmp_path, capsys, content):
    path = capture_of(tmp_path)
    (tmp_path / captured.NAME).write_text(content)
    assert cli.main(["roofline", "--from", str(path), "--out", str(tmp_path / "out")]) == 2
    assert captured.NAME in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_whole_capture_goes_from_the_tool_to_the_files(tmp_path, monkeypatch, capsys):
    """The command on a machine that is said to have a GPU, with a tool that has captured already."""
    from kvgpt.measure import device

    monkeypatch.setattr(device, "unusable", lambda name: None)
    monkeypatch.setattr(device, "describe", lambda name: {"kind": "cuda", "name": "an imagined GPU"})
    from kvgpt.measure.ncu import steps

    monkeypatch.setattr(steps, "known", lambda name: KNOWN)
    path, notes = fake_ncu.install(tmp_path / "bin", fake_ncu.table([*fake_ncu.calibration(KNOWN), step()]))
    words = ["--variants=v1", "--phases=decode", "--batch-size=64", f"--out={tmp_path / 'out'}"]
    assert cli.main(["roofline", "--ncu", path, *words]) == 0
    assert {one.name for one in (tmp_path / "out").iterdir()} == {
        "roofline.ncu-rep", "roofline.csv", "capture.json", "v1_decode_metrics.json"
    }  # fmt: skip
    made = json.loads((tmp_path / "out/v1_decode_metrics.json").read_text())
    assert made["capture"]["device"]["name"] == "an imagined GPU" and made["capture"]["batch_size"] == 64
    assert made["predicted"]["dram_bytes"] > 64 * 512 * 98_304, "the cache of 64 sequences, read once"
    (ran,) = [one for one in map(ast.literal_eval, notes.read_text().splitlines()) if "--nvtx" in one]
    assert ran[ran.index("--steps") - 1 :][:2] == ["roofline", "--steps"] and "--batch-size=64" in ran
    assert "v1__decode" in capsys.readouterr().out


def test_the_command_refuses_what_is_no_table_and_unknown_names(tmp_path, capsys):
    assert cli.main(["roofline", "--from", str(tmp_path / "absent.csv")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert cli.main(["roofline", "--steps", "--device", "cpu", "--phases", "training"]) == 2
    assert "known: prefill, decode" in capsys.readouterr().err
    assert cli.main(["roofline", "--steps", "--device", "cpu", "--variants", "v9"]) == 2
    assert cli.main(["roofline", "--ncu", "--device", "cpu"]) == 2
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU skips, one with it counts")
def test_without_a_gpu_the_command_is_skipped(capsys):
    assert cli.main(["roofline", "--ncu"]) == 1
    assert "skipped: torch sees no CUDA device" in capsys.readouterr().err


def test_the_steps_are_the_asked_ones_each_in_its_range(monkeypatch):
    from contextlib import contextmanager

    import kvgpt
    from kvgpt.conformance import strategies
    from kvgpt.measure import roof
    from kvgpt.measure.ncu import steps

    entered = []

    @contextmanager
    def mark(name):
        entered.append(name)
        yield

    monkeypatch.setitem(roof.SIZES, "cpu", (roof.MIB,))
    monkeypatch.setitem(roof.MATMUL, "cpu", 16)
    config = kvgpt.GPTConfig(n_layer=2, n_head=1, n_embd=64, vocab_size=257, block_size=16)
    asked = [steps.Asked(name, phase, 2, 8) for name in ("v0", "int8+cla2") for phase in steps.PHASES]
    steps.run(strategies.model(config, 0, torch.float32), asked, "cpu", mark)
    assert entered[:2] == ["calibration__read", "calibration__product"]
    assert entered[2:] == ["v0__prefill", "v0__decode", "int8_cla2__prefill", "int8_cla2__decode"]
    assert steps.known("cpu") == Known(bytes=4 * roof.MIB // 4, flops=2 * 16**3)
    held = asked[3].predicted(config, "float32"), asked[2].predicted(config, "float32")
    assert held[0].flops < held[1].flops and asked[3].file == "int8+cla2_decode_metrics.json"


@pytest.mark.gpu
def test_closed_forms_are_within_a_tenth_of_counted_bytes_at_batch_64(tmp_path):
    words = ["--variants=v1,v2,v4", "--phases=decode", "--batch-size=64", "--context=512", f"--out={tmp_path}"]
    try:
        capture.find()
    except capture.Skipped as reason:
        pytest.skip(str(reason))
    if cli.main(["roofline", "--ncu", *words]):
        pytest.skip("the driver gives no counters: `kvgpt roofline --ncu` says why")
    for variant in ("v1", "v2", "v4"):
        made = json.loads((tmp_path / f"{variant}_decode_metrics.json").read_text())
        assert not made["withheld"], made["withheld"]
        assert made["counted_over_predicted"]["dram_bytes"] == pytest.approx(1.0, abs=0.1), variant
