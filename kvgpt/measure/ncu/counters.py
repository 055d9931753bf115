"""The counters: what each is worth in bytes or operations, and which of them a GPU has.

The cores count instructions of a thread: an addition is one operation, a fused multiply-add two. The tensor cores count
operations themselves since Ampere, by the type of what they multiply; before it, they count instructions of a warp
alone, and every generation's do another amount of work. So operations are taken from the counters of operations, and
where a GPU has none, or one that nobody knows, the known product of :mod:`counted` shows it.
"""

from collections.abc import Collection, Mapping

BYTES, TIME = "dram__bytes.sum", "gpu__time_duration.sum"
CORES: dict[str, int] = {  # counter -> operations each: float16, float32 and float64
    f"smsp__sass_thread_inst_executed_op_{kind}{what}_pred_on.sum": worth
    for kind in "fhd"
    for what, worth in (("add", 1), ("mul", 1), ("fma", 2))
}
SOURCE = "sm__ops_path_tensor_src_"
TENSOR: tuple[tuple[tuple[str, ...], ...], ...] = tuple(  # for each type the sets that hold all of it: the first counts
    tuple(tuple(f"{SOURCE}{name}.sum" for name in alternative) for alternative in alternatives)
    for alternatives in (
        (("bf16_dst_fp32",), ("bf16_dst_fp32_sparsity_off", "bf16_dst_fp32_sparsity_on")),
        (("fp16",), ("fp16_dst_fp16", "fp16_dst_fp32")),
        (("tf32_dst_fp32",), ("tf32_dst_fp32_sparsity_off", "tf32_dst_fp32_sparsity_on")),
        (("fp8",), ("fp8_dst_fp16", "fp8_dst_fp32")),
        (("fp64",),),
        (("int8",),),
    )
)
INSTRUCTIONS = tuple(  # of the tensor cores, of a warp each; the first is all of them
    f"sm__inst_executed_pipe_tensor{kind}.sum" for kind in ("", "_op_hmma", "_op_imma", "_op_gmma", "_op_dmma")
)
VOLTA = 512  # operations of a tensor instruction before Ampere, which counts none


def wanted(available: Collection[str]) -> list[str]:
    """Of all that is worth counting what a GPU has; ``available`` are names without ``.sum``.

    ValueError where bytes or times are not among it.
    """
    names = [BYTES, TIME, *CORES, *INSTRUCTIONS]
    names += [name for alternatives in TENSOR for several in alternatives for name in several]
    found = [name for name in names if name.removesuffix(".sum") in available]
    if missing := {BYTES, TIME} - {*found}:
        raise ValueError(f"this GPU counts no {' and no '.join(sorted(missing))}")
    return found


def core_operations(counts: Mapping[str, float]) -> float:
    """Of the cores alone: all that the original research counted."""
    return sum(worth * counts.get(name, 0.0) for name, worth in CORES.items())


def tensor_instructions(counts: Mapping[str, float]) -> float | None:
    """Executed by the tensor cores; None where nothing counted them."""
    found = [counts[name] for name in INSTRUCTIONS if name in counts]
    if INSTRUCTIONS[0] in counts:
        return counts[INSTRUCTIONS[0]]
    return sum(found) if found else None


def tensor_operations(counts: Mapping[str, float], capability: float) -> float | None:
    """Of the tensor cores; None where they worked and nothing says how much, or where nothing looked."""
    complete = [
        next(several for several in alternatives if all(name in counts for name in several))
        for alternatives in TENSOR
        if any(all(name in counts for name in several) for several in alternatives)
    ]
    total, instructions = sum(counts[name] for several in complete for name in several), tensor_instructions(counts)
    if instructions == 0 or (complete and total):
        return total
    if instructions and capability < 8:
        return VOLTA * instructions
    return None
