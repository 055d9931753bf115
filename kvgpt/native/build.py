"""What makes a library of a file of C++ here: torch's own compiler of kernels, which keeps what it has made."""

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import torch
from torch.autograd import profiler

from kvgpt.compiling import uncompilable, warn_of

NUMBERS = {torch.float32: "float", torch.bfloat16: "bf16"}  # as vectors.h calls them
FLAGS = ("-ffp-contract=fast",)  # a product and a sum are one instruction, which rounds once


@cache
def library(name: str, **types: str) -> ctypes.CDLL | None:
    """``name``.cpp of this folder, with macros that name its types; None where nothing can be compiled, with a warning
    where that fails. It takes seconds, once a machine.
    """
    if uncompilable(torch.device("cpu")) is not None:
        return None
    macros = [f"#define {macro} {type_}\n" for macro, type_ in types.items()]
    # What is kept goes by its source: machines of several kinds may share a folder.
    macros.append(f"// for {torch.backends.cpu.get_cpu_capability()}\n")
    parts = [files(__package__).joinpath(part).read_text("utf-8") for part in ("vectors.h", f"{name}.cpp")]
    try:
        return _compiled("".join([*macros, *parts]))
    except Exception as error:  # a compiler has its own ways to fail
        warn_of(error)
        return None


def profiled(name: str, run: Callable[..., None], *arguments: object) -> None:
    """Call a loop, which a profiler would not see of itself."""
    if profiler._is_profiler_enabled:
        with profiler.record_function(f"kvgpt::{name}"):
            run(*arguments)
    else:
        run(*arguments)


def _compiled(source: str) -> ctypes.CDLL:
    from torch._inductor.codecache import CppCodeCache  # noqa: PLC0415 - takes a second, and not every machine compiles

    loaded: ctypes.CDLL = CppCodeCache.load(source, extra_flags=FLAGS)
    return loaded
