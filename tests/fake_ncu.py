"""Nsight Compute as a script that answers as ``ncu`` does and notes what it was asked; tables as it exports them."""

import csv
import io
import stat
import sys

RANGE = "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"
FADD, FMUL, FFMA = (f"smsp__sass_thread_inst_executed_op_{name}_pred_on.sum" for name in ("fadd", "fmul", "ffma"))
BYTES, TIME = "dram__bytes.sum", "gpu__time_duration.sum"
TENSOR, HMMA = "sm__ops_path_tensor_src_bf16_dst_fp32.sum", "sm__inst_executed_pipe_tensor.sum"
UNITS = {BYTES: "byte", TIME: "nsecond"}
ORIGINAL = {  # as the original research published them, of whole steps
    "v0_prefill": {BYTES: 1.48e9, FADD: 397.7e6, FMUL: 432.2e6, FFMA: 745.8e6, TIME: 6158e3},
    "v1_prefill": {BYTES: 1.48e9, FADD: 397.7e6, FMUL: 432.3e6, FFMA: 746.0e6, TIME: 6191e3},
    "v1_decode": {BYTES: 0.88e9, FADD: 40.9e6, FMUL: 42.6e6, FFMA: 182.4e6, TIME: 3065e3},
}
SCRIPT = """#!{python}
import sys
from pathlib import Path
words = sys.argv[1:]
with Path({notes!r}).open("a") as file:
    file.write(repr(words) + "\\n")
if "--version" in words:
    print("NVIDIA (R) Nsight Compute Command Line Profiler\\n{version}")
elif "--query-metrics" in words:
    print("Device NVIDIA GPU (GA102)\\n" + "\\n".join(f"{{name:60}}Counter  # of" for name in {metrics!r}))
elif "--import" in words:
    print(Path({exported!r}).read_text(), end="")
else:
    print({said!r})
    if not {code}:
        Path(words[words.index("--export") + 1]).write_text("a report")
    sys.exit({code})
"""


def table(kernels, counters=None, units=UNITS, capability="8.6", ranges=True):
    """A raw page: ``kernels`` are (range or "", name, {counter: value})."""
    names = counters or list(dict.fromkeys(name for _, _, counts in kernels for name in counts))
    heads = ["ID", "Process ID", *([RANGE] if ranges else []), "Kernel Name", "Block Size", "CC", *names]
    file = io.StringIO()
    lines = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    lines.writerow(heads)
    lines.writerow([""] * (len(heads) - len(names)) + [units.get(name, "inst") for name in names])
    for number, (where, kernel, counts) in enumerate(kernels):
        inside = [f'7  "<default domain>:kvgpt__{where}:none:none:none:none:none:none"'] if where else [""]
        cells = [f"{counts[name]:.2f}" if name in counts else "" for name in names]
        lines.writerow([number, 7, *(inside if ranges else []), kernel, "(256, 1, 1)", capability, *cells])
    return file.getvalue()


def calibration(known, read=1.0, product=1.0):
    """The known kernels, counted so many times too high; the product on the tensor cores."""
    return [
        ("calibration__read", "reduce", {BYTES: read * known.bytes, HMMA: 0.0, TENSOR: 0.0}),
        ("calibration__product", "gemm", {BYTES: 4e8, HMMA: 1e6, TENSOR: product * known.flops}),
    ]


def install(folder, exported="", version="Version 2025.1.0.0 (build 1)", metrics=(), said="", code=0):
    """Write the script; its path, and the file of its notes."""
    folder.mkdir(parents=True, exist_ok=True)
    notes, csv_file, script = folder / "asked.txt", folder / "exported.csv", folder / "ncu"
    csv_file.write_text(exported)
    metrics = list(metrics) or [name.removesuffix(".sum") for name in (BYTES, TIME, FADD, FMUL, FFMA, TENSOR, HMMA)]
    filled = {"python": sys.executable, "notes": str(notes), "exported": str(csv_file)}
    script.write_text(SCRIPT.format(**filled, version=version, metrics=metrics, said=said, code=code))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script), notes
