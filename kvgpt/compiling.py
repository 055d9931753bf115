"""Loops over memory that torch's compiler writes for this machine, where it has what that takes."""

import shutil
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor

COMPILER = "clang++" if sys.platform == "darwin" else "g++"  # the one that inductor looks for


def uncompilable(device: torch.device) -> str | None:
    """Why ``torch.compile`` cannot make code for this device here, or None."""
    if shutil.which(COMPILER) is None:
        return f"no compiler {COMPILER}"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "no Python.h: Python's headers for C are not installed"
    if device.type == "cuda" and find_spec("triton") is None:
        return "no triton"
    return None


def loop(function: Callable[..., Tensor], *examples: Tensor) -> Callable[..., Tensor]:
    """``function`` of tensors of just these shapes and dtypes, by inductor alone: nothing is guarded, so that a call
    costs a few microseconds.
    """
    from torch._inductor import compile as inductor  # noqa: PLC0415 - takes a second, and not every machine compiles
    from torch.fx.experimental.proxy_tensor import make_fx  # noqa: PLC0415 - the same

    with _without_deprecations(), torch.no_grad():
        return cast(Callable[..., Tensor], inductor(make_fx(function)(*examples), list(examples)))


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """``function`` behind ``torch.compile``, whole, as a function of its own: of one, it refuses the ninth set of
    shapes.
    """
    plain = cast(FunctionType, function)
    own = FunctionType(plain.__code__.replace(), plain.__globals__, plain.__name__, None, plain.__closure__)
    step, settled = torch.compile(own, fullgraph=True, **options), False

    def call(*arguments: Any) -> Any:
        nonlocal settled
        if settled:
            return step(*arguments)
        with _without_deprecations():
            result = step(*arguments)
        settled = True
        return result

    return call


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """The first compilation imports modules of torch's own that use what torch has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.")
        yield
