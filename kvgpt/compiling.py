"""What torch's compiler makes for this machine, where it has what that takes."""

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


class Compiled:
    """``function`` of tensors behind ``torch.compile``, whole, with these ``options`` of it.

    Its guards can tell apart more kinds of sizes and strides than ``torch.compile`` keeps of one function: past those
    it starts again with a function of its own.
    """

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        self.function, self.options = cast(FunctionType, function), options
        self.step: Callable[..., Tensor] | None = None

    def __call__(self, *arguments: Any) -> Tensor:
        if self.step is None:
            return self._anew(*arguments)
        try:
            return self.step(*arguments)
        except torch._dynamo.exc.FailOnRecompileLimitHit:
            return self._anew(*arguments)

    def _anew(self, *arguments: Any) -> Tensor:
        of = self.function
        own = FunctionType(of.__code__.replace(), of.__globals__, of.__name__, of.__defaults__, of.__closure__)
        self.step = torch.compile(own, fullgraph=True, **self.options)
        with _without_deprecations():
            return self.step(*arguments)


def warn_of(error: Exception) -> None:
    """Say that a compiler that is here could not be used, and what follows."""
    error = getattr(error, "inner_exception", error)  # what torch says around it names nothing that a user has
    (first, *_) = str(error).strip().splitlines() or [""]
    warnings.warn(
        f"torch's compiler failed, and slower ways serve ({type(error).__name__}: {first}); "
        f"does `{COMPILER}` work, with OpenMP, and is the folder for temporary files writable?",
        RuntimeWarning,
        stacklevel=3,
    )


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """The first compilation imports modules of torch's own that use what torch has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.")
        yield
