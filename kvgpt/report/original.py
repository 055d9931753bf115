"""The original research's ``results.jsonl``: a JSON object a line, one of its benchmarks of one version each.

Nobody wrote down how its measurements are named, so each has a few likely spellings; a line that has none of them is
reported with its number, and so is a line that is there again: as in the original, the first of a benchmark, a version
and a T counts. A line may hold its figures itself, in an object, or in a list of objects with a T each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvgpt import record, recorded, strict_json
from kvgpt.config import PRESETS
from kvgpt.costs import ITEM_BYTES
from kvgpt.recipes import ALIASES

LARGEST_FILE = 64 * 2**20  # bytes
LARGEST_LINE = 2**20
FAMILIES = {
    "latency_vs_T": "latency",
    "vram_vs_T": "memory",
    "per_phase_breakdown": "phases",
    "max_batch_capacity": "capacity",
    "perplexity": "perplexity",
}
UNITS = {  # SI unit -> how a spelling ends or begins, and the SI units in one of it
    "s": {"ms": 1e-3, "us": 1e-6, "s": 1.0},
    "B": {"mb": 1e6, "mib": 2.0**20, "gb": 1e9, "gib": 2.0**30, "bytes": 1.0},
    "1": {"": 1.0},
}
FORMS = ("{stem}_{unit}", "{unit}_{stem}", "{stem}_{unit}_mean", "mean_{stem}_{unit}", "avg_{stem}_{unit}")
PEAK = ("vram", "peak_vram", "vram_peak", "peak_memory", "max_memory", "memory", "peak", "max_memory_allocated")
SPELLINGS: dict[str, dict[str, tuple[str, ...]]] = {  # family -> metric -> what it may be called, without its unit
    "latency": {
        "total_latency": ("total", "total_latency", "latency_total", "total_time", "latency", "time"),
        "per_token_latency": ("per_token", "per_token_latency", "latency_per_token", "time_per_token"),
    },
    "memory": {"peak_memory": PEAK},
    "phases": {
        "phase_embedding": ("embedding", "embed", "emb"),
        "phase_attention": ("attention", "attn"),
        "phase_mlp": ("mlp", "ffn"),
        "phase_head": ("head", "lm_head"),
        "phase_other": ("other",),
        "phase_sum": ("total", "sum", "phase_sum"),
    },
    "capacity": {"max_batch": ("max_batch", "max_batch_size", "capacity"), "peak_memory": PEAK},
    "perplexity": {"perplexity": ("perplexity", "ppl"), "nll": ("loss", "nll", "avg_loss", "mean_loss")},
}
LENGTHS = ("t", "seq_len", "sequence_length", "context_length", "length", "new_tokens", "max_new_tokens")
SCORED = ("scored_tokens", "num_tokens", "n_tokens", "total_tokens", "tokens", "max_tokens")
BATCHES = ("batch_size", "batch", "b")
BUDGETS = ("memory_budget", "gpu_memory", "total_memory", "total_vram", "gpu_memory_total")
PARAMETERS = ("n_params", "num_params", "params", "parameters", "n_parameters", "num_parameters")
SHAPE = ("n_layer", "n_head", "n_embd", "block_size")
DTYPES = {"bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}


@dataclass(frozen=True)
class Reading:
    """A file's cases as results, and a sentence for each line that is ``repeated`` or was ``left_out``."""

    results: recorded.Results
    repeated: tuple[str, ...]
    left_out: tuple[str, ...]


def recognises(path: Path) -> bool:
    """Whether the first line of a file is one of the original's."""
    first = next(iter(_lines(path)), None) if path.suffix == ".jsonl" and path.is_file() else None
    return first is not None and isinstance(first[1], dict) and "benchmark_name" in first[1]


def read(path: Path) -> recorded.Results:
    """The cases of the original's results, in SI units; ValueError where a file has none."""
    return read_all(path).results


def read_all(path: Path) -> Reading:
    """The cases of the original's results, and the lines that are not among them."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path}: {path.stat().st_size} bytes: the limit is {LARGEST_FILE}")
    cases, repeated, left_out = dict[object, recorded.Case](), list[str](), list[str]()
    device: dict[str, Any] = {}
    for number, line in _lines(path):
        try:
            found = [_case(number, point, path) for point in _points(line)]
        except (ValueError, OverflowError) as error:
            left_out.append(f"line {number}: {error}")
            continue
        device = device or _device(line)
        for case in found:
            place = (case.family, case.variant, _length(case))
            if cases.setdefault(place, case) is not case:
                repeated.append(f"{case.name}: counted as {cases[place].name} says")
    if not cases:
        why = f": {left_out[0]}" if left_out else ""
        raise ValueError(f"{path}: no line of the original research's results{why}")
    return Reading(recorded.Results(path, device, tuple(cases.values())), tuple(repeated), tuple(left_out))


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Numbered lines that are not empty: an object, or the reason why there is none."""
    with path.open("rb") as file:
        number = 0
        while data := file.readline(LARGEST_LINE + 1):
            number += 1
            if len(data) > LARGEST_LINE:
                while data and not data.endswith(b"\n"):
                    data = file.readline(LARGEST_LINE)
                yield number, f"longer than {LARGEST_LINE} bytes"
            elif data.strip():
                try:
                    yield number, strict_json.parse(data)
                except ValueError as error:
                    yield number, f"not JSON as a results file has it: {error}"


def _points(line: Any) -> list[dict[str, Any]]:
    """The fields of each measurement on a line, names in small letters."""
    if isinstance(line, str):
        raise ValueError(line)
    fields = {name.lower(): value for name, value in line.items() if not isinstance(value, dict | list)}
    points: list[dict[str, Any]] = []
    for value in line.values():
        if isinstance(value, dict):
            fields |= {name.lower(): inner for name, inner in value.items()}
        elif isinstance(value, list):
            points += [{name.lower(): inner for name, inner in one.items()} for one in value if isinstance(one, dict)]
    return [fields | point for point in points] or [fields]


def _case(number: int, fields: Mapping[str, Any], path: Path) -> recorded.Case:
    benchmark, version = str(fields.get("benchmark_name")), str(fields.get("version"))
    if benchmark not in FAMILIES:
        raise ValueError(f"benchmark_name={benchmark!r}: known: {', '.join(FAMILIES)}")
    if version not in ALIASES:
        raise ValueError(f"version={version!r}: known: {', '.join(ALIASES)}")
    family, workload = FAMILIES[benchmark], _workload(fields)
    spelled = {
        name: value
        for name, stems in SPELLINGS[family].items()
        if (value := _figure(fields, stems, record.METRICS[name][0])) is not None
    }
    if not spelled:
        known = "; ".join(f"{name} as {', '.join(stems)}" for name, stems in SPELLINGS[family].items())
        raise ValueError(f"no figure of {benchmark} among its fields: {known}, with a unit such as _ms or _mb")
    length = _whole(fields, SCORED if family == "perplexity" else LENGTHS)
    if family == "perplexity":
        forced = "autoregressive" if fields.get("autoregressive") is True else "teacher_forced"
        mode = fields.get("mode", forced)
        workload |= {"mode": str(mode).replace("-", "_")} | ({} if length is None else {"scored_tokens": length})
    elif length is None:
        raise ValueError(f"no length of {benchmark} among its fields: {', '.join(LENGTHS)}")
    else:
        batch = {} if family == "capacity" else {"batch_size": _whole(fields, BATCHES) or 1}  # one sequence unless said
        workload |= {"new_tokens": length, **batch}
    budget = _figure(fields, BUDGETS, "B")
    if family == "capacity" and budget is not None:
        workload["memory_budget"] = budget
    metrics = {name: record.metric(name, value) for name, value in _completed(spelled, length).items()}
    parameters, dtype = _whole(fields, PARAMETERS), workload.get("dtype")
    if parameters is not None and dtype in ITEM_BYTES:
        metrics["weights_bytes"] = record.metric("weights_bytes", parameters * ITEM_BYTES[dtype], kind="modelled")
    where = f"{path}: line {number}"
    made = record.record(family, version, ALIASES[version], workload, metrics)
    name = f"line {number}: {benchmark} {version}" + ("" if length is None else f" T={length}")
    workload = recorded.Workload(made["workload"], where)
    return recorded.Case(name, family, version, ALIASES[version], workload, made["metrics"], True, (), {})


def _workload(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What every benchmark of the original has in common. Its caches have room for a whole context, whatever T is."""
    shape = {name: value for name in SHAPE if (value := _whole(fields, (name,))) is not None}
    named = next(
        (name for name, preset in PRESETS.items() if all(preset[field] == shape.get(field) for field in SHAPE[:3])),
        str(fields.get("preset", fields.get("model", "a GPT-2"))),
    )
    workload = {"model": named, "weights": "pretrained", "device": "cuda", **shape}
    dtype = str(fields.get("dtype", "")).removeprefix("torch.")
    if dtype:
        workload["dtype"] = DTYPES.get(dtype, dtype)
    if isinstance(fields.get("gpu_name"), str):
        workload["device_name"] = fields["gpu_name"]
    if "block_size" in shape:
        workload["max_length"] = shape["block_size"]
    return workload


def _completed(spelled: Mapping[str, float], length: int | None) -> dict[str, float]:
    """What was measured, and of a total and the time of one token the one that a line leaves to be worked out."""
    figures = dict(spelled)
    if length is not None and "total_latency" in figures:
        figures.setdefault("per_token_latency", figures["total_latency"] / length)
    if length is not None and "per_token_latency" in figures:
        figures.setdefault("total_latency", figures["per_token_latency"] * length)
    return figures


def _figure(fields: Mapping[str, Any], stems: tuple[str, ...], unit: str) -> float | None:
    """The first field that is spelled as one of these and holds a number, in SI units."""
    for stem in stems:
        for suffix, scale in UNITS[unit].items():
            names = [form.format(stem=stem, unit=suffix) for form in FORMS] if suffix else [stem]
            for name in names:
                value = fields.get(name)
                if isinstance(value, int | float) and not isinstance(value, bool):
                    return value * scale if suffix else value
    return None


def _whole(fields: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((value for name in names if type(value := fields.get(name)) is int and value > 0), None)


def _device(line: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": line.get("gpu_name"), "torch": line.get("pytorch_version")}
    return {"kind": "cuda"} | {name: value for name, value in named.items() if isinstance(value, str)}


def _length(case: recorded.Case) -> object:
    """T, by which the original tells its results apart; of a perplexity the tokens, and how they were fed."""
    return case.workload.get("new_tokens"), case.workload.get("scored_tokens"), case.workload.get("mode")
