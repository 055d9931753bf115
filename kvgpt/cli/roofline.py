"""The command that counts on a GPU: roofline."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvgpt.plain import columns, quantity
from kvgpt.recipes import ALIASES, Variant

if TYPE_CHECKING:
    from kvgpt.config import GPTConfig
    from kvgpt.measure.ncu.counted import Figures
    from kvgpt.measure.ncu.steps import Asked

GIVEN = ("variants", "phases", "batch_size", "context", "model", "weights", "dtype", "device")  # to the run under ncu


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their parsers."""
    one = commands.add_parser(
        "roofline",
        help="bytes and operations as a GPU's own counters have them, beside the closed forms",
        description="Count what a prompt and a decode step of each variant read, write and compute on a GPU, through "
        "Nsight Compute. For times, pictures and all that needs no counters: pytest benchmarks/bench_roofline.py. "
        "Exit code: 1 where nothing could be counted, with the reason and the fix.",
    )
    how = one.add_mutually_exclusive_group(required=True)
    how.add_argument("--ncu", nargs="?", const="ncu", metavar="PATH", help="run the steps under ncu (default: on PATH)")
    how.add_argument("--from", dest="exported", type=Path, metavar="FILE.csv", help="of ncu --csv --page raw")
    how.add_argument("--steps", action="store_true", help="run the steps once in NVTX ranges, for any profiler")
    one.add_argument("--out", type=Path, default=Path("results/roofline"), metavar="DIR", help="(default: %(default)s)")
    one.add_argument("--variants", default="v0,v1", help=f"(default: v0,v1) such as {','.join(ALIASES)}")
    one.add_argument("--phases", default="prefill,decode", help="(default: both)")
    one.add_argument("--batch-size", type=int, default=1)
    one.add_argument("--context", type=int, default=512, help="tokens of the prompt, and held when one is decoded")
    one.add_argument("--model", default="gpt2-medium", help="(default: gpt2-medium)")
    one.add_argument("--weights", default="random:0", help="pretrained, or random[:SEED] (default: random:0)")
    one.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    one.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="cpu: for --steps alone")
    one.set_defaults(run=roofline)


def roofline(parsed: argparse.Namespace) -> int:
    """Count, or read what was counted; 1 where nothing could be."""
    if parsed.exported:
        return _read(parsed.exported, parsed.out)
    from kvgpt.measure import device

    asked = _asked(parsed)
    if parsed.ncu and parsed.device != "cuda":
        raise ValueError(f"device={parsed.device!r}: --ncu counts on a GPU: leave --device out")
    if reason := device.unusable(parsed.device):
        print(f"kvgpt roofline: skipped: {reason.partition(': ')[0]}: nothing to count here", file=sys.stderr)
        return 1
    return _steps(parsed, asked) if parsed.steps else _capture(parsed, asked)


def _asked(parsed: argparse.Namespace) -> "list[Asked]":
    from kvgpt.measure.ncu.steps import PHASES, Asked

    phases, variants = parsed.phases.split(","), parsed.variants.split(",")
    for phase in phases:
        if phase not in PHASES:
            raise ValueError(f"phase={phase!r}: known: {', '.join(PHASES)}")
    for name in variants:
        Variant.parse(name)
    if parsed.batch_size < 1 or parsed.context < 2:
        raise ValueError(f"batch_size={parsed.batch_size}, context={parsed.context}: at least 1 row, and 2 tokens")
    return [Asked(name, phase, parsed.batch_size, parsed.context) for name in variants for phase in phases]


def _steps(parsed: argparse.Namespace, asked: "Sequence[Asked]") -> int:
    from contextlib import nullcontext

    from kvgpt import registry
    from kvgpt.measure.ncu import steps

    model = registry.open_model(parsed.model, parsed.weights, parsed.dtype, parsed.device)
    mark: Any = steps.nvtx if parsed.device == "cuda" else lambda name: nullcontext()
    steps.run(model, asked, parsed.device, mark)
    print(*(one.name for one in asked), sep="\n")
    return 0


def _capture(parsed: argparse.Namespace, asked: "Sequence[Asked]") -> int:
    """Run this command's ``--steps`` under ncu, keep the report and its CSV, and say what was counted."""
    from contextlib import suppress
    from dataclasses import asdict

    from kvgpt import whole
    from kvgpt.measure import device
    from kvgpt.measure.ncu import capture, captured, counted, steps

    config = _config(parsed.model)
    try:
        tool = capture.find(parsed.ncu)
        parsed.out.mkdir(parents=True, exist_ok=True)
        options = [f"--{name.replace('_', '-')}={getattr(parsed, name)}" for name in GIVEN]
        words = [sys.executable, "-m", "kvgpt", "roofline", "--steps", *options]
        names = [counted.READ, counted.PRODUCT, *(one.name for one in asked)]
        report = capture.capture(tool, words, names, (parsed.out / "roofline.ncu-rep").absolute())
        exported = capture.export(tool, report)
    except capture.Skipped as reason:
        with suppress(OSError):
            parsed.out.rmdir()  # where it is empty, and so of this run
        print(f"kvgpt roofline: skipped: {reason}", file=sys.stderr)
        return 1
    about = {"ncu": tool.version, "device": device.describe(parsed.device)}
    about |= {name: getattr(parsed, name) for name in ("model", "weights", "dtype")}
    phases = {one.name: captured.Phase(one.file, asdict(one), one.predicted(config, parsed.dtype)) for one in asked}
    captured.write(parsed.out, captured.Captured(about, steps.known(parsed.device), phases))
    path = whole.write(parsed.out / "roofline.csv", exported)
    print(f"kept {report}")
    return _read(path, parsed.out)


def _config(model: str) -> "GPTConfig":
    """What the closed forms need of a model, without its weights."""
    from kvgpt import checkpoint
    from kvgpt.config import PRESETS, GPTConfig

    return GPTConfig.preset(model) if model in PRESETS else checkpoint.read_config(checkpoint.locate(model))


def _read(path: Path, out: Path) -> int:
    """Make figures of an exported CSV: a JSON for each range, and a table of what was counted beside what it should."""
    from kvgpt import strict_json, whole
    from kvgpt.measure.ncu import captured, counted, exported

    of, ranges = captured.beside(path), exported.read(path)
    found = counted.figures(ranges, of.known)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for one in found:
        phase = of.phases.get(one.name)
        name, predicted = (phase.file, phase.predicted) if phase else (f"{one.name}_metrics.json", None)
        strict_json.write(out / whole.stem(name), counted.document(one, predicted, of.about_phase(one.name)))
        rows.append(_row(one, predicted))
    print(*columns(HEADINGS, rows), sep="\n")
    for why in sorted({why for one in found for why in one.withheld.values()}):
        print(f"withheld: {why}")
    for name in captured.lacking(of, ranges):
        print(f"missing: no kernel of {name} was captured")
    print(f"wrote {len(rows)} files in {out}")
    return 0


HEADINGS = (
    "range",
    "kernels",
    "time",
    "bytes",
    "of closed form",
    "operations",
    "of closed form",
    "without tensor cores",
)


def _row(one: "Figures", predicted: Any) -> list[str]:
    def of(value: float | None, unit: str) -> str:
        return "-" if value is None else quantity(value, unit)

    def ratio(value: float | None, form: float | None) -> str:
        return "-" if value is None or not form else f"{value / form:.3f}"

    forms = (predicted.bytes, predicted.flops) if predicted else (None, None)
    return [
        *(one.name, str(one.kernels), of(one.seconds, "s")),
        *(of(one.dram_bytes, "B"), ratio(one.dram_bytes, forms[0])),
        *(of(one.total_flops, "FLOP"), ratio(one.total_flops, forms[1]), of(one.core_flops, "FLOP")),
    ]
