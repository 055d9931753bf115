"""Compiles a decode kernel for GPUs that need not be here, as a launch over contiguous storage would, and says how."""

import importlib
import re
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kvgpt.kernels.plan import STAGES, padded, tile

HEAD_DIM, PARTS = 64, 8
TYPES = {"position": "*i64", "sums": "*fp32", "arrived": "*i32", "factor": "fp32", "heads": "i32", "groups": "i32"}
CODES = {"dense": "*bf16", "int8": "*i8", "int4": "*u8"}
SIXTEEN = [["tt.divisibility", 16]]


def compiled(storage, architecture, own):
    kernel = importlib.import_module(f"kvgpt.kernels.{storage}")._decode
    width = HEAD_DIM // 2 if storage == "int4" else HEAD_DIM
    constants = {"OWN": own, "D": HEAD_DIM, "HALF": width, "WIDTH": width, "TILE": tile(HEAD_DIM), "PARTS": PARTS}
    constants |= {"PADDED": padded(PARTS), "STAGES": STAGES}
    signature, fixed, hints = {}, {}, {}
    for number, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name], fixed[number,] = "constexpr", constants[name]
        elif name.endswith("_strides"):  # the last is 1
            last = 2 if name.startswith(("scales", "minima")) else 3
            signature[name], fixed[number, last] = ("i32",) * last + ("constexpr",), 1
            hints |= {(number, one): SIXTEEN for one in range(last)}
        else:
            part = "*fp16" if name.endswith(("scales", "minima")) else CODES[storage] if "code" in name else "*bf16"
            signature[name] = TYPES.get(name, "i32" if name == "room" else part)
            hints |= {} if name in ("heads", "groups", "factor") else {(number,): SIXTEEN}
    source = ASTSource(kernel, signature, constexprs=fixed, attrs=hints)
    target = GPUTarget("cuda", architecture, 32)
    return triton.compile(source, target=target, options={"enable_fp_fusion": True})


for architecture in (80, 90):
    for own in (True, False):
        made = compiled(sys.argv[1], architecture, own)
        ptx = made.asm["ptx"]
        found = {
            "16-byte loads in flight": re.search(r"cp\.async\.cg\.shared\.global\S* .*0x10", ptx),
            "one arrival": len(re.findall(r"atom\.\S*acq_rel", ptx)) == 1,
            "nothing spilt": ".local" not in ptx,
        }
        said = ", ".join(what for what, holds in found.items() if holds)
        sys.stdout.write(f"{architecture} {'appends' if own else 'follows'}: {said}\n")
